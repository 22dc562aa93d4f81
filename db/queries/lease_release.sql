SELECT release_v1(%s, %s, %s)
