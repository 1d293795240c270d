INSERT INTO {database}.stream_reports{local} (stream, organization, environment, site, gateway, replica, boot, worker, accepted, counted, received, newest)
SELECT stream, organization, environment, site, gateway, replica, boot, worker, max(s.accepted), max(s.reported), max(s.reported),
  concat(leftPad(toString(toUnixTimestamp64Milli(max(s.reported))), 16, '0'), toJSONString(map('closed', toBool(max(s.closed)))))
FROM {database}.streams{local} AS s
GROUP BY stream, organization, environment, site, gateway, replica, boot, worker
