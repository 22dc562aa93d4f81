SELECT outcome, message_id::text, status, expected_at, ahead, quota, waived FROM admit_v1(%s)
