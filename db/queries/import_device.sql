INSERT INTO whatsmeow_device (jid, lid, registration_id, noise_key, identity_key, signed_pre_key, signed_pre_key_id, signed_pre_key_sig,
                              adv_key, adv_details, adv_account_sig, adv_account_sig_key, adv_device_sig, platform, push_name)
VALUES (%(jid)s, %(lid)s, %(registration_id)s, %(noise_key)s, %(identity_key)s, %(signed_pre_key)s, %(signed_pre_key_id)s,
        %(signed_pre_key_sig)s, %(adv_key)s, %(adv_details)s, %(adv_account_sig)s, %(adv_account_sig_key)s, %(adv_device_sig)s,
        %(platform)s, %(push_name)s)
