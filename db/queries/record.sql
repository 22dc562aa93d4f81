SELECT at FROM record_v1(%s, %s, %s, %s, %s)
