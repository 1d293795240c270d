-- One of the 5,000 routes, in an order that neither repeats soon nor differs from run to run.
local n = 0
request = function()
  n = (n + 2741) % 5000
  return wrk.format(nil, string.format("/bench/r%04d/x", n))
end
