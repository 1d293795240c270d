// A link from elsewhere comes without the cookie of the session; a question of this page has it.
fetch("/api/v1/reader", { signal: AbortSignal.timeout(10000) }).then(({ ok }) => {
  const next = new URL(new URLSearchParams(location.search).get("next") || "/", location.origin);
  if (ok && next.origin === location.origin && next.pathname !== "/login") location.replace(next);
}).catch(() => {});
