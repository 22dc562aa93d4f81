SELECT redeliver_callbacks_v1(%s::uuid[])
