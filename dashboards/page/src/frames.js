/** points gives the series of an answer: name, labels, points of [ms, value or null]. */
export function points(data, legend) {
  const value = (v) => (v === "NaN" || v === "+Inf" || v === "-Inf" ? null : Number(v));
  const at = ([t, v]) => [Math.round(t * 1000), value(v)];
  if (data.resultType === "scalar") return [{ name: "", labels: {}, points: [at(data.result)] }];
  return data.result.map((s) => ({
    name: named(s.metric, legend), labels: s.metric,
    points: (s.values ?? [s.value]).map(at),
  }));
}

function named(labels, legend) {
  if (legend && legend !== "__auto") return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, l) => labels[l] ?? "");
  const rest = Object.entries(labels).filter(([k]) => k !== "__name__");
  return rest.map(([, v]) => v).join(" · ");
}

/** joined makes one table of instant answers: a row for each set of labels, as Grafana's "merge" does. */
export function joined(frames) {
  const labels = new Set(), rows = new Map();
  const column = (ref) => (frames.length > 1 ? `Value #${ref}` : "Value");
  for (const f of frames) {
    for (const s of f.series) {
      const own = Object.entries(s.labels).filter(([k]) => k !== "__name__");
      const key = JSON.stringify(own.sort());
      own.forEach(([k]) => labels.add(k));
      if (!rows.has(key)) rows.set(key, Object.fromEntries(own));
      rows.get(key)[column(f.ref)] = s.points.at(-1)[1];
    }
  }
  const columns = [...labels, ...frames.map((f) => column(f.ref))];
  return { columns: columns.map((name) => ({ name })), rows: [...rows.values()].map((r) => columns.map((c) => r[c] ?? null)) };
}

/** organized hides and renames columns as Grafana's "organize" does, and sorts by the first. */
export function organized(t, transformations) {
  for (const o of transformations.filter((x) => x.id === "organize").map((x) => x.options)) {
    const keep = t.columns.map((c, i) => i).filter((i) => !o.excludeByName?.[t.columns[i].name]);
    t = { columns: keep.map((i) => ({ name: o.renameByName?.[t.columns[i].name] || t.columns[i].name })), rows: t.rows.map((r) => keep.map((i) => r[i])) };
  }
  t.rows.sort((a, b) => String(a[0]).localeCompare(String(b[0])));
  return t;
}
