SELECT begin_callbacks_v1(%s, %s, make_interval(secs => %s))
