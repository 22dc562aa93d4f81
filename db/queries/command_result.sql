SELECT answer FROM commands WHERE id = %s
