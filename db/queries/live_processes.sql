SELECT live_processes()
