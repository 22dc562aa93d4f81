SELECT d.jid, d.lid, d.registration_id, d.noise_key, d.identity_key, d.signed_pre_key, d.signed_pre_key_id, d.signed_pre_key_sig,
       d.adv_key, d.adv_details, d.adv_account_sig, d.adv_account_sig_key, d.adv_device_sig, d.platform, d.push_name
  FROM sessions s JOIN whatsmeow_device d ON d.jid = s.jid WHERE s.tenant_id = %s
