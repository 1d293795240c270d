-- 10 KiB posted.
wrk.method = "POST"
wrk.body = string.rep("p", 10240)
