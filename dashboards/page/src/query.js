const unit = { s: 1, m: 60, h: 3600, d: 86400, w: 604800, M: 2592000, y: 31536000 };

/** seconds is how long "now-6h" is; 0 when it cannot be read. */
export function seconds(from) {
  const m = /^now-(\d+)([smhdwMy])$/.exec(from);
  return m ? Number(m[1]) * unit[m[2]] : 0;
}

/** ranges are the periods to choose from, with the board's own. */
export function ranges(lang, own) {
  const fr = { "now-1h": "1 heure", "now-6h": "6 heures", "now-24h": "24 heures", "now-7d": "7 jours", "now-30d": "30 jours", "now-90d": "90 jours", "now-1y": "1 an", "now-2y": "2 ans", "now-5y": "5 ans" };
  const ar = { "now-1h": "ساعة", "now-6h": "6 ساعات", "now-24h": "24 ساعة", "now-7d": "7 أيام", "now-30d": "30 يوما", "now-90d": "90 يوما", "now-1y": "سنة", "now-2y": "سنتان", "now-5y": "5 سنوات" };
  const known = Object.entries(lang === "ar" ? ar : fr);
  return known.some(([k]) => k === own) ? known : [...known, [own, own]];
}

/** interpolated puts variables into a query as Grafana does. */
export function interpolated(text, variables, range, step = 60) {
  const span = range.to - range.from;
  const own = { __range: `${span}s`, __range_s: String(span), __interval: `${step}s`, __rate_interval: `${Math.max(4 * step, 60)}s` };
  return text.replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)/g, (whole, a, b) => {
    const name = a ?? b;
    if (name in own) return own[name];
    const v = variables[name];
    if (v === undefined) return whole;
    if (typeof v === "string") return v;
    if (!v.chosen.length) return v.all;
    // In a PromQL string the backslash of the regular expression is itself escaped.
    const safe = v.chosen.map((c) => c.replace(/[\\^$.*+?()[\]{}|]/g, "\\\\$&").replace(/"/g, '\\"'));
    return safe.length === 1 ? safe[0] : `(${safe.join("|")})`;
  });
}

/** choices are the codes that a query variable offers, and what they are called, found
 * as Grafana finds them: each series printed as a line, of which the regular
 * expression takes what it calls value and text. */
export function choices({ regex, sort }, result, lang) {
  const [, pattern, flags] = regex.match(/^\/(.*)\/(\w*)$/);
  const found = new Map();
  for (const { metric: { __name__, ...labels }, value: [time, value] } of result) {
    const line = `${__name__ ?? ""}{${Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(",")}} ${value} ${time * 1000}`;
    const groups = [...line.matchAll(new RegExp(pattern, flags))].map((m) => m.groups);
    const code = groups.find((g) => g.value)?.value;
    if (code && !found.has(code)) found.set(code, groups.find((g) => g.text)?.text ?? code);
  }
  const list = [...found].map(([value, text]) => ({ value, text }));
  const naturally = 7; // what Grafana calls it; 0 is as they come
  return sort === naturally ? list.sort((a, b) => a.text.localeCompare(b.text, lang, { numeric: true })) : list;
}
