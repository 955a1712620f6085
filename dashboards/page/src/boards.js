// Draws Grafana's board files on Masar's own page: the same JSON, the same queries,
// the same data sources by uid. What a board says in French is shown in Arabic by
// the map of texts that the server gives.
import * as echarts from "echarts/core";
import { BarChart, LineChart, MapChart } from "echarts/charts";
import { GridComponent, LegendComponent, TooltipComponent, VisualMapComponent } from "echarts/components";
import { SVGRenderer } from "echarts/renderers";
import { organized, joined, points } from "./frames.js";
import { choices, interpolated, ranges, seconds } from "./query.js";
import { dates, directed, formatter } from "./format.js";

echarts.use([BarChart, LineChart, MapChart, GridComponent, LegendComponent, TooltipComponent, VisualMapComponent, SVGRenderer]);

const words = {
  fr: { all: "Tous", period: "Période", data: "Tableau", chart: "Graphique", none: "masqué ou inconnu", failed: "Sans réponse", boards: "Tableaux", refresh: "Actualiser", other: "العربية", skip: "Aller au contenu", filters: "Filtres", when: "Lu à", unknown: "Ce panneau n'est dessiné que par Grafana.", loading: "Lecture…", time: "Date" },
  ar: { all: "الكل", period: "الفترة", data: "جدول", chart: "رسم بياني", none: "محجوب أو غير معروف", failed: "لا جواب", boards: "لوحات المتابعة", refresh: "تحديث", other: "Français", skip: "انتقل إلى المحتوى", filters: "عوامل التصفية", when: "قُرئ على الساعة", unknown: "هذه اللوحة تُعرض في غرافانا فقط.", loading: "جار التحميل…", time: "التاريخ" },
};

const address = new URL(location.href);
const lang = address.searchParams.get("lang") === "ar" ? "ar" : "fr";
const word = words[lang];
const uid = decodeURIComponent(address.pathname.split("/")[2] ?? "");
let arabic = {};
const told = (text) => (lang === "ar" && arabic[text]) || text;

/** el makes an element: attributes, then children, which are text or elements. */
function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== false && v != null) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c != null));
  return e;
}

async function json(path) {
  const res = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await res.json().catch(() => ({}));
  if (!res.ok) throw new Error(body.error ?? body.detail ?? `${res.status} ${path.split("?")[0]}`);
  return body;
}

/** ask asks a data source in Prometheus' way. */
async function ask(source, path, params) {
  const body = await json(`/boards/source/${encodeURIComponent(source)}/api/v1/${path}?${new URLSearchParams(params)}`);
  return body.data;
}

function link(path, changes = {}) {
  const to = new URL(path, location.href);
  const params = new URLSearchParams(path.startsWith("?") ? address.search : "");
  if (!params.has("lang") && lang === "ar") params.set("lang", "ar");
  for (const [k, v] of Object.entries(changes)) {
    params.delete(k);
    for (const one of [v].flat()) if (one != null) params.append(k, one);
  }
  to.search = params;
  return to.pathname + to.search;
}

async function main() {
  document.documentElement.lang = lang;
  document.documentElement.dir = lang === "ar" ? "rtl" : "ltr";
  const [list, texts] = await Promise.all([json("/boards/files"), lang === "ar" ? json("/boards/texts") : {}]);
  arabic = texts;
  const header = el("header", {},
    el("nav", { "aria-label": word.boards }, el("strong", {}, el("a", { href: link("/boards") }, lang === "ar" ? "مسار" : "Masar")),
      ...list.map((b) => el("a", { href: link(`/boards/${b.uid}`), "aria-current": b.uid === uid ? "page" : false }, told(b.title)))),
    el("a", { href: link("?", { lang: lang === "ar" ? null : "ar" }), lang: lang === "ar" ? "fr" : "ar", class: "lang" }, word.other));
  const main = el("main", { id: "main", tabindex: "-1" });
  document.body.replaceChildren(el("a", { class: "skip", href: "#main" }, word.skip), header, main);
  if (!uid) {
    document.title = `Masar · ${word.boards}`;
    main.append(el("h1", {}, word.boards), el("ul", { class: "index" },
      ...list.map((b) => el("li", {}, el("a", { href: link(`/boards/${b.uid}`) }, told(b.title)), el("p", {}, told(b.description))))));
    document.body.dataset.drawn = "yes";
    return;
  }
  await board(await json(`/boards/files/${encodeURIComponent(uid)}`), main);
}

const focusKey = "masar-focus";

/** popup has an open details close by Escape, and when the keyboard leaves it. */
function popup(details) {
  details.addEventListener("keydown", (e) => {
    if (e.key !== "Escape" || !details.open) return;
    details.open = false;
    details.querySelector("summary").focus();
  });
  details.addEventListener("focusout", (e) => {
    if (e.relatedTarget && !details.contains(e.relatedTarget)) details.open = false;
  });
  return details;
}

document.addEventListener("pointerdown", (e) => {
  for (const d of document.querySelectorAll("details[open]")) if (!d.contains(e.target)) d.open = false;
});

async function board(b, main) {
  document.title = `${told(b.title)} · Masar`;
  const from = address.searchParams.get("from") ?? b.time.from;
  const now = Math.floor(Date.now() / 1000);
  const range = { from: now - seconds(from), to: now };
  const variables = {};
  const asked = [];
  const controls = el("form", { class: "controls", "aria-label": word.filters, onsubmit: (e) => {
    e.preventDefault();
    const picked = new FormData(controls);
    // The page is read again: whoever came by keyboard goes on from where they were.
    const at = document.activeElement;
    sessionStorage.setItem(focusKey, (at.closest("details")?.querySelector("summary") ?? at).id);
    location.href = link("?", Object.fromEntries(["from", ...asked].map((k) => [k, picked.getAll(k)])));
  } });
  controls.append(el("label", {}, word.period + " ",
    el("select", { id: "from", name: "from" }, ...ranges(lang, from).map(([value, text]) => el("option", { value, selected: value === from }, text)))));
  for (const v of b.templating.list) {
    if (v.type === "datasource") {
      variables[v.name] = v.current.value;
      continue;
    }
    const name = `var-${v.name}`;
    const chosen = address.searchParams.getAll(name);
    let values = [];
    try {
      const [, query] = v.query.query.match(/^query_result\((.+)\)$/);
      const codes = await ask(interpolated(v.datasource.uid, variables, range), "query", { query: interpolated(query, variables, range), time: range.to });
      values = choices(v, inLanguage(codes.result), lang);
    } catch {
      // The panels will say that the data source does not answer.
    }
    variables[v.name] = { chosen, all: v.allValue ?? ".*" };
    asked.push(name);
    const called = (code) => values.find((c) => c.value === code)?.text ?? code;
    controls.append(popup(el("details", { class: "choice" },
      el("summary", { id: name }, `${told(v.label)} : ${chosen.length ? chosen.map(called).join(", ") : word.all}`),
      el("fieldset", {}, el("legend", {}, told(v.description ?? v.label)),
        ...values.map(({ value, text }) => el("label", {}, el("input", { type: "checkbox", name, value, checked: chosen.includes(value) }), " " + text)),
        el("button", {}, word.refresh)))));
  }
  controls.append(el("button", { id: "refresh" }, word.refresh));
  main.append(el("h1", {}, told(b.title)), el("p", { class: "about" }, told(b.description)), controls);
  const grid = el("div", { class: "grid" });
  main.append(grid);
  document.getElementById(sessionStorage.getItem(focusKey) ?? "")?.focus();
  sessionStorage.removeItem(focusKey);
  const drawn = b.panels.map((p) => {
    if (p.type === "row") {
      grid.append(el("h2", {}, told(p.title)));
      return null;
    }
    const body = el("div", { class: "body" }, word.loading);
    const section = el("section", { class: `panel ${p.type}`, style: `--w:${p.gridPos.w};--h:${p.gridPos.h}`, "aria-labelledby": `t${p.id}`, "data-panel": p.id },
      el("div", { class: "head" }, el("h3", { id: `t${p.id}` }, told(p.title)),
        popup(el("details", { class: "why" }, el("summary", { "aria-label": told(p.title) + " ?" }, "?"), el("p", {}, told(p.description ?? ""))))),
      body);
    grid.append(section);
    return panel(p, body, section, variables, range);
  });
  await Promise.all(drawn);
  main.append(el("footer", { role: "status" }, `${word.when} ${new Date().toLocaleTimeString(lang === "ar" ? "ar-TN" : "fr-FR", { timeZone: b.timezone })} (${b.timezone})`));
  document.body.dataset.drawn = "yes";
}

async function panel(p, body, section, variables, range) {
  const paint = painters[p.type];
  if (p.type === "text") return body.replaceChildren(el("p", {}, told(p.options.content)));
  if (!paint) return body.replaceChildren(el("p", { class: "none" }, word.unknown));
  try {
    const frames = await Promise.all(p.targets.map((t) => frame(t, variables, range)));
    if (!frames.some((f) => f.series.some((s) => s.points.some((x) => x[1] != null)))) section.dataset.empty = "yes";
    await paint(p, body, frames, section);
  } catch (err) {
    section.dataset.failed = "yes";
    body.replaceChildren(el("p", { class: "ko", role: "alert" }, `${word.failed} : ${err.message}`));
  }
}

/** frame asks one query: its series, named by the legend. */
async function frame(t, variables, range) {
  const source = interpolated(t.datasource.uid, variables, range);
  // Figures are by day; the rest in some 300 steps.
  const daily = t.expr.includes("masar_kpi_");
  const step = daily ? 86400 : Math.max(15, Math.round((range.to - range.from) / 300));
  const query = interpolated(t.expr, variables, range, step);
  const data = t.instant
    ? await ask(source, "query", { query, time: range.to })
    : await ask(source, "query_range", { query, start: range.from, end: range.to, step });
  inLanguage(data.result);
  return { ref: t.refId, series: points(data, told(t.legendFormat)) };
}

/** inLanguage has the labels that say in French what codes are called, fr and zone_fr, say it in Arabic. */
function inLanguage(result) {
  if (lang === "ar") {
    for (const { metric } of result) for (const k of Object.keys(metric ?? {})) if (/(^|_)ar$/.test(k)) metric[k.replace(/ar$/, "fr")] = metric[k];
  }
  return result;
}

const painters = { stat, timeseries, "status-history": statusHistory, bargauge, barchart: bargauge, table, geomap };

function color(p, value) {
  const names = { green: "var(--ok)", orange: "var(--warn)", red: "var(--ko)", blue: "var(--accent)" };
  const steps = p.fieldConfig.defaults.thresholds?.steps ?? [];
  const step = steps.filter((s) => s.value == null || value >= s.value).at(-1);
  return names[step?.color] ?? "inherit";
}

const last = (s) => s.points.findLast((x) => x[1] != null)?.[1];

/** nothing stands in an empty panel; its description says what may be the reason. */
function nothing(p) {
  const said = el("p", { class: "none" }, told(p.fieldConfig.defaults.noValue ?? word.none));
  return p.type === "stat" ? said : el("div", {}, said, el("p", { class: "about" }, told(p.description)));
}

function stat(p, body, frames) {
  const show = formatter(p.fieldConfig.defaults, lang);
  const values = frames.flatMap((f) => f.series).map(last).filter((v) => v != null);
  if (!values.length) return body.replaceChildren(nothing(p));
  body.replaceChildren(...values.map((v) => el("p", { class: "value", style: `color:${color(p, v)}` }, show(v))));
}

function bargauge(p, body, frames) {
  const show = formatter(p.fieldConfig.defaults, lang);
  const rows = frames.flatMap((f) => f.series).map((s) => [s.name, last(s)]).filter((r) => r[1] != null).sort((a, b) => b[1] - a[1]);
  if (!rows.length) return body.replaceChildren(nothing(p));
  const most = Math.max(...rows.map((r) => r[1]), p.fieldConfig.defaults.unit === "percentunit" ? 1 : 0) || 1;
  body.replaceChildren(el("table", { class: "bars" }, el("tbody", {},
    ...rows.map(([name, v]) => el("tr", {}, el("th", { scope: "row" }, el("span", {}, told(name))), el("td", { class: "bar" }, el("div", { style: `width:${Math.max(0, (100 * v) / most)}%` })), el("td", { class: "n" }, show(v)))))));
}

function table(p, body, frames) {
  const { columns, rows } = organized(joined(frames), p.transformations ?? []);
  if (!rows.length) return body.replaceChildren(nothing(p));
  const show = formatter(p.fieldConfig.defaults, lang);
  body.replaceChildren(grid(p, columns.map((c) => told(c.name)), rows.map((r) => r.map((v) => (typeof v === "number" ? show(v) : v))), rows));
}

/** geomap colours the shapes of the panel's GeoJSON layer by the first query; its data are a table too. */
async function geomap(p, body, frames, section) {
  const layer = p.options.layers.find((l) => l.type === "dynamic-geojson");
  const d = p.fieldConfig.defaults;
  const show = formatter(d, lang);
  const shapes = await json(layer.config.src.replace("${masar}", ""));
  const found = new Map(frames[0].series.map((s) => [s.labels[layer.config.idField], last(s)]));
  const named = shapes.features.map((f) => ({ id: f.id, name: f.properties[`label_${lang}`] ?? f.id, value: found.get(f.id) ?? null }));
  for (const [i, f] of shapes.features.entries()) f.properties = { name: named[i].name };
  const chart = picture(p, named.filter((n) => n.value != null).map((n) => `${n.name} ${show(n.value)}`));
  const data = grid(p, [told(p.transformations?.[0]?.options.renameByName?.fr ?? "fr"), told(p.title)],
    named.map((n) => [n.name, n.value == null ? null : show(n.value)]), named.map((n) => [n.name, n.value ?? 0]));
  swappable(p, section, body, chart, data);
  if (shapes.attribution) body.append(el("p", { class: "credit" }, shapes.attribution));
  const most = Math.max(1, ...named.map((n) => n.value ?? 0));
  echarts.registerMap("places", { type: "FeatureCollection", features: shapes.features });
  draw(chart, {
    tooltip: { trigger: "item", formatter: (x) => `${directed(x.name, lang)} : ${x.value == null || Number.isNaN(x.value) ? word.none : show(x.value)}` },
    visualMap: { min: 0, max: most, text: [show(most), show(0)], left: lang === "ar" ? "right" : "left", bottom: 0, itemHeight: 90, inRange: { color: ["#e0ecf4", "#8856a7", "#4d004b"] }, textStyle: { color: ink() } },
    series: [{ type: "map", map: "places", aspectScale: 0.83, roam: false, selectedMode: false, itemStyle: { areaColor: "#bbb", borderColor: "#777" }, emphasis: { label: { show: false }, itemStyle: { areaColor: null, borderWidth: 2 } }, data: named.filter((n) => n.value != null) }],
  });
}

const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const ink = () => (dark() ? "#ddd" : "#333");

/** draw makes the chart of the options, which follows the size of its place. */
function draw(chart, options) {
  const plot = echarts.init(chart, null, { renderer: "svg" });
  // A real font, by which texts are measured.
  plot.setOption({ animation: false, textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: ink() }, ...options });
  new ResizeObserver(() => plot.resize()).observe(chart);
}

/** picture is the place of a chart, with what it shows in words. */
function picture(p, said) {
  return el("div", { class: "chart", role: "img", "aria-label": [told(p.title), ...said].join(" ; ") });
}

/** swappable shows a chart, or by a button its data as a table. */
function swappable(p, section, body, chart, data) {
  data.hidden = true;
  const swap = el("button", { type: "button", class: "swap", onclick: () => {
    data.hidden = !data.hidden;
    chart.hidden = !data.hidden;
    name();
  } });
  const name = () => {
    swap.textContent = data.hidden ? word.data : word.chart;
    swap.setAttribute("aria-label", `${swap.textContent} : ${told(p.title)}`);
  };
  name();
  section.querySelector(".head").append(swap);
  body.replaceChildren(chart, data);
}

/** scrolled lets the keyboard scroll what does not fit. */
function scrolled(p, content) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": told(p.title) }, content);
}

/** grid is a plain table; cells that are numbers in `values` stand at the end. */
function grid(p, names, cells, values) {
  const number = (i) => values.some((r) => typeof r[i] === "number");
  return scrolled(p, el("table", {},
    el("thead", {}, el("tr", {}, ...names.map((n, i) => el("th", { scope: "col", class: number(i) ? "n" : false }, n)))),
    el("tbody", {}, ...cells.map((r) => el("tr", {}, ...r.map((c, i) => el("td", { class: number(i) ? "n" : false }, el("bdi", {}, c ?? word.none))))))));
}

/** overTime gives the series that have values, the moments of these, and the values by moment. */
function overTime(frames, order = () => 0) {
  const list = frames.flatMap((f) => f.series).filter((s) => s.points.some((x) => x[1] != null)).sort(order);
  const times = [...new Set(list.flatMap((s) => s.points.filter((x) => x[1] != null).map((x) => x[0])))].sort((a, b) => a - b);
  return { list, times, label: dates(times, lang), at: list.map((s) => new Map(s.points)) };
}

/** statusHistory is a row for each series and a cell for each moment, the darker the more. */
function statusHistory(p, body, frames) {
  const { list, times, label, at } = overTime(frames, (a, b) => told(a.name).localeCompare(told(b.name), lang));
  if (!list.length) return body.replaceChildren(nothing(p));
  const show = formatter(p.fieldConfig.defaults, lang);
  const most = Math.max(...at.flatMap((m) => [...m.values()]), 1);
  body.replaceChildren(scrolled(p, el("table", { class: "history" },
    el("thead", {}, el("tr", {}, el("td"), ...times.map((t) => el("th", { scope: "col" }, label(t))))),
    el("tbody", {}, ...list.map((s, i) => el("tr", {}, el("th", { scope: "row" }, told(s.name)),
      ...times.map((t) => at[i].get(t)).map((v) => (v == null ? el("td") : el("td", { style: `--share:${Math.round((50 * v) / most)}%` }, show(v))))))))));
}

function timeseries(p, body, frames, section) {
  const d = p.fieldConfig.defaults;
  const show = formatter(d, lang);
  const { list, times, label, at } = overTime(frames);
  if (!list.length) return body.replaceChildren(nothing(p));
  const bars = d.custom.drawStyle === "bars";
  const stack = d.custom.stacking?.mode === "normal" ? "all" : undefined;
  const chart = picture(p, [label(times.at(-1)), ...list.map((s) => `${told(s.name)} ${show(last(s))}`)]);
  const data = grid(p, [word.time, ...list.map((s) => told(s.name))], times.map((t) => [label(t), ...at.map((m) => (m.get(t) == null ? null : show(m.get(t))))]),
    times.map((t) => ["", ...at.map((m) => m.get(t) ?? 0)]));
  swappable(p, section, body, chart, data);
  draw(chart, {
    color: ["#0b6e5b", "#d1792c", "#3f6fb5", "#a33b6b", "#7a9a2e", "#6b56a8", "#b8a02a", "#2a9aa8", "#8c5a3c", "#777777"],
    // Opposite the values there is room for half the text of the last moment.
    grid: { left: lang === "ar" ? 34 : 8, right: lang === "ar" ? 8 : 34, top: 12, bottom: list.length > 1 ? 34 : 8, containLabel: true },
    legend: list.length > 1 ? { type: "scroll", bottom: 0, textStyle: { color: ink() } } : undefined,
    tooltip: { trigger: "axis", valueFormatter: (v) => (v == null ? word.none : show(v)) },
    xAxis: { type: "category", data: times.map(label), inverse: lang === "ar", axisLabel: { color: ink(), hideOverlap: true, lineHeight: 14, formatter: (text) => text.replace(/[,،] /, "\n") } },
    yAxis: { type: "value", minInterval: d.decimals === 0 ? (d.unit === "percentunit" ? 0.01 : 1) : 0, position: lang === "ar" ? "right" : "left", axisLabel: { color: ink(), formatter: show }, splitLine: { lineStyle: { color: dark() ? "#444" : "#ddd" } } },
    series: list.map((s, i) => ({
      name: directed(told(s.name), lang), type: bars ? "bar" : "line", barMaxWidth: 60, stack, showSymbol: times.length === 1, step: false, connectNulls: d.custom.spanNulls === true,
      lineStyle: { width: 2 }, areaStyle: stack && !bars ? { opacity: 0.4 } : undefined, data: times.map((t) => at[i].get(t) ?? null),
    })),
  });
}

main().catch((err) => document.body.append(el("p", { class: "ko", role: "alert" }, `${word.failed} : ${err.message}`)));
