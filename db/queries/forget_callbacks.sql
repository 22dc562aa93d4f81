SELECT forget_callbacks_v1(make_interval(days => %s), %s)
