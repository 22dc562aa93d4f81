SELECT device_exists_v1(%s)
