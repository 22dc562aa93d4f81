SELECT tenant, endpoint FROM callbacks_due_v1(%s, %s)
