SELECT outcome, message_id::text, status, expected_at, ahead, quota_name, quota_limit, quota_used, quota_resets_at, waived,
       denied
  FROM admit_v2(%s) ORDER BY "row"
