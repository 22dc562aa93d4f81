-- An hour longer than events, which go first and every hour: so nothing is told of that is not there any more.
SELECT forget_messages_v1(make_interval(days => %s, hours => 1), %s)
