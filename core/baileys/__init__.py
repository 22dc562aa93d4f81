"""A login written by Baileys (6.7 and 7) becomes the rows of whatsmeow's store, and goes back.

    login = read_login(creds, keys)     # moving_in: None when the login was never paired; Damaged when it is of no use
    baileys = write_login(login, now)   # moving_out

Everything here is values: nothing is read, written or logged. What is secret in a value stays out of its repr, and no
error repeats what it found.
"""
