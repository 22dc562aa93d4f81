SELECT live_supervisors()
