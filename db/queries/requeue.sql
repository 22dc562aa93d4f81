SELECT at FROM requeue_v1(%s, %s, %s)
