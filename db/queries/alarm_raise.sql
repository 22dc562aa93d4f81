INSERT INTO alarms (name, detail) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING name
