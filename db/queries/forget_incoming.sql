-- As forget_messages.
SELECT forget_incoming_v1(make_interval(days => %s, hours => 1), %s)
