SELECT session_changed_v1(%s, %s, %s, %s, %s)
