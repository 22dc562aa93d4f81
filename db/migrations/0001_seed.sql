-- The five tables of the original gateway, with its names, columns, constraints and indexes and nothing more.
-- IF NOT EXISTS, because a database of the original gateway is taken over in place: its rows stay as they are.

CREATE TABLE IF NOT EXISTS api_keys (
  id SERIAL PRIMARY KEY,
  api_key VARCHAR(255) UNIQUE NOT NULL,
  tenant_id VARCHAR(100) UNIQUE NOT NULL,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX IF NOT EXISTS idx_api_keys_key ON api_keys(api_key);
CREATE INDEX IF NOT EXISTS idx_api_keys_tenant ON api_keys(tenant_id);

CREATE TABLE IF NOT EXISTS whitelist (
  id SERIAL PRIMARY KEY,
  tenant_id VARCHAR(100) NOT NULL,
  phone_number VARCHAR(50) NOT NULL,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  UNIQUE(tenant_id, phone_number)
);

CREATE INDEX IF NOT EXISTS idx_whitelist_tenant ON whitelist(tenant_id);
CREATE INDEX IF NOT EXISTS idx_whitelist_phone ON whitelist(tenant_id, phone_number);

CREATE TABLE IF NOT EXISTS daily_limits (
  id SERIAL PRIMARY KEY,
  tenant_id VARCHAR(100) NOT NULL,
  phone_number VARCHAR(50) NOT NULL,
  date DATE NOT NULL,
  count INTEGER DEFAULT 0,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  UNIQUE(tenant_id, phone_number, date)
);

CREATE INDEX IF NOT EXISTS idx_daily_limits_lookup ON daily_limits(tenant_id, phone_number, date);

CREATE TABLE IF NOT EXISTS auth_creds (
  tenant_id VARCHAR(100) PRIMARY KEY,
  data TEXT,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS auth_keys (
  id SERIAL PRIMARY KEY,
  tenant_id VARCHAR(100) NOT NULL,
  key VARCHAR(255) NOT NULL,
  value TEXT,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  UNIQUE(tenant_id, key)
);

CREATE INDEX IF NOT EXISTS idx_auth_keys_tenant ON auth_keys(tenant_id);
