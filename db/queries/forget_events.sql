SELECT forget_events_v1(make_interval(days => %s), %s)
