/** directed keeps an Arabic text with figures in it whole where a chart writes from left to right. */
export function directed(text, lang) {
  return lang === "ar" ? `\u2067${text}\u2069` : text;
}

/** formatter shows numbers in a unit, with Latin digits in both languages. */
export function formatter(field, lang) {
  const show = inUnit(field, lang);
  return (v) => directed(show(v), lang);
}

function inUnit({ unit, decimals }, lang) {
  const locale = lang === "ar" ? "ar-TN-u-nu-latn" : "fr-FR";
  const number = (v, digits) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(v);
  const ar = lang === "ar";
  switch (unit) {
    case "percentunit":
      return (v) => number(v * 100, decimals ?? 1) + " %";
    case "s":
      return (v) => duration(v, number, ar);
    case "d":
      return (v) => number(v, decimals ?? 1) + (ar ? " يوم" : " j");
    case "reqps":
    case "cps":
      return (v) => number(v, decimals ?? 2) + (ar ? "/ث" : "/s");
    case "bytes":
      return (v) => (v >= 1e9 ? number(v / 1e9, 1) + (ar ? " غ.ب" : " Go") : number(v / 1e6, 1) + (ar ? " م.ب" : " Mo"));
    default:
      return (v) => number(v, decimals ?? 2);
  }
}

function duration(v, number, ar) {
  const a = Math.abs(v);
  if (a > 0 && a < 1) return number(v * 1000, 1) + (ar ? " م.ث" : " ms");
  if (a < 120) return number(v, 1) + (ar ? " ث" : " s");
  if (a < 7200) return number(v / 60, 1) + (ar ? " د" : " min");
  if (a < 172800) return number(v / 3600, 1) + (ar ? " س" : " h");
  return number(v / 86400, 1) + (ar ? " يوم" : " j");
}

/** dates gives the shortest text that tells the moments (ms) apart: month, day, or hour. */
export function dates(times, lang) {
  const format = (locale, style) => new Intl.DateTimeFormat(locale, { ...style, timeZone: "Africa/Tunis" });
  const day = format("en-GB", { day: "numeric", month: "numeric", year: "numeric" });
  const least = Math.min(...times.slice(1).map((t, i) => t - times[i]), Infinity);
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  // A month's figure stands on its first day.
  const style = least >= 27 * 86400e3 && times.every((t) => /^0?1\//.test(day.format(t))) ? { month: "short", year: "numeric" }
    : least >= 20 * 3600e3 ? { day: "numeric", month: "short", year: "2-digit" }
    : day.format(times[0]) === day.format(times.at(-1)) ? clock
    : { day: "numeric", month: "short", ...clock };
  const f = format(lang === "ar" ? "ar-TN-u-nu-latn" : "fr-FR", style);
  return (t) => directed(f.format(t), lang);
}
