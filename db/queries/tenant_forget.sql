SELECT forget_tenant_v1(%(tenant)s)
