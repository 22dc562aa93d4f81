SELECT number, gateway FROM live_supervisors()
