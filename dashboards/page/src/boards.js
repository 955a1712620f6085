// Draws Grafana's board files on Masar's own page: the same JSON, the same queries,
// the same data sources by uid. What a board says in French is shown in Arabic by
// the map of texts that the server gives.
import * as echarts from "echarts/core";
import { BarChart, LineChart, MapChart } from "echarts/charts";
import { GridComponent, LegendComponent, TooltipComponent, VisualMapComponent } from "echarts/components";
import { SVGRenderer } from "echarts/renderers";
import { organized, joined, points } from "./frames.js";
import { interpolated, ranges, seconds } from "./query.js";
import { formatter, dates } from "./format.js";

echarts.use([BarChart, LineChart, MapChart, GridComponent, LegendComponent, TooltipComponent, VisualMapComponent, SVGRenderer]);

const words = {
  fr: { all: "Tous", period: "Période", data: "Tableau", chart: "Graphique", none: "masqué ou inconnu", failed: "Sans réponse", boards: "Tableaux", refresh: "Actualiser", other: "العربية", when: "Lu à", unknown: "Ce panneau n'est dessiné que par Grafana.", loading: "Lecture…", time: "Date" },
  ar: { all: "الكل", period: "الفترة", data: "جدول", chart: "رسم بياني", none: "محجوب أو غير معروف", failed: "لا جواب", boards: "لوحات المتابعة", refresh: "تحديث", other: "Français", when: "قُرئ على الساعة", unknown: "هذه اللوحة تُعرض في غرافانا فقط.", loading: "جار التحميل…", time: "التاريخ" },
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
  const main = el("main");
  document.body.replaceChildren(header, main);
  if (!uid) {
    document.title = `Masar · ${word.boards}`;
    main.append(el("h1", {}, word.boards), el("ul", { class: "index" },
      ...list.map((b) => el("li", {}, el("a", { href: link(`/boards/${b.uid}`) }, told(b.title)), el("p", {}, told(b.description))))));
    document.body.dataset.drawn = "yes";
    return;
  }
  await board(await json(`/boards/files/${encodeURIComponent(uid)}`), main);
}

async function board(b, main) {
  document.title = `${told(b.title)} · Masar`;
  const from = address.searchParams.get("from") ?? b.time.from;
  const now = Math.floor(Date.now() / 1000);
  const range = { from: now - seconds(from), to: now };
  const variables = {};
  const controls = el("form", { class: "controls", "aria-label": word.period });
  const periods = ranges(lang, from);
  controls.append(el("label", {}, word.period + " ",
    el("select", { onchange: (e) => (location.href = link("?", { from: e.target.value })) },
      ...periods.map(([value, text]) => el("option", { value, selected: value === from }, text)))));
  for (const v of b.templating.list) {
    if (v.type === "datasource") {
      variables[v.name] = v.current.value;
      continue;
    }
    const [, series, label] = v.query.query.match(/^label_values\((.*),\s*(\w+)\)$/);
    const chosen = address.searchParams.getAll(`var-${v.name}`);
    let values = [], names = {};
    try {
      const source = interpolated(v.datasource.uid, variables, range);
      values = await ask(source, `label/${label}/values`, { "match[]": series, start: range.from, end: range.to });
      const codes = await ask(source, "query", { query: `masar_code_${label}`, time: range.to });
      names = Object.fromEntries(codes.result.map(({ metric }) => [metric[label], metric[lang]]));
    } catch {
      // The panels will say that the data source does not answer.
    }
    variables[v.name] = { chosen, all: v.allValue ?? ".*" };
    controls.append(el("details", { class: "choice" },
      el("summary", {}, `${told(v.label)} : ${chosen.length ? chosen.map((c) => names[c] ?? c).join(", ") : word.all}`),
      el("fieldset", {}, el("legend", {}, told(v.description ?? v.label)),
        ...values.map((value) => el("label", {}, el("input", { type: "checkbox", name: `var-${v.name}`, value, checked: chosen.includes(value) }), " " + (names[value] ?? value))),
        el("button", { type: "button", onclick: (e) => {
          const picked = [...e.target.closest("fieldset").querySelectorAll("input:checked")].map((i) => i.value);
          location.href = link("?", { [`var-${v.name}`]: picked });
        } }, word.refresh))));
  }
  controls.append(el("button", { type: "button", onclick: () => location.reload() }, word.refresh));
  main.append(el("h1", {}, told(b.title)), el("p", { class: "about" }, told(b.description)), controls);
  const grid = el("div", { class: "grid" });
  main.append(grid);
  const drawn = b.panels.map((p) => {
    if (p.type === "row") {
      grid.append(el("h2", {}, told(p.title)));
      return null;
    }
    const body = el("div", { class: "body" }, word.loading);
    const section = el("section", { class: `panel ${p.type}`, style: `--w:${p.gridPos.w};--h:${p.gridPos.h}`, "aria-labelledby": `t${p.id}`, "data-panel": p.id },
      el("div", { class: "head" }, el("h3", { id: `t${p.id}` }, told(p.title)),
        el("details", { class: "why" }, el("summary", { "aria-label": told(p.title) + " ?" }, "?"), el("p", {}, told(p.description ?? "")))),
      body);
    grid.append(section);
    return panel(p, body, section, variables, range);
  });
  await Promise.all(drawn);
  main.append(el("footer", {}, `${word.when} ${new Date().toLocaleTimeString(lang === "ar" ? "ar-TN" : "fr-FR", { timeZone: b.timezone })} (${b.timezone})`));
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
  if (lang === "ar") { // what codes are called: labels fr and ar, zone_fr and zone_ar
    for (const { metric } of data.result) for (const k of Object.keys(metric ?? {})) if (/(^|_)ar$/.test(k)) metric[k.replace(/ar$/, "fr")] = metric[k];
  }
  return { ref: t.refId, series: points(data, t.legendFormat) };
}

const painters = { stat, timeseries, bargauge, barchart: bargauge, table, geomap };

function color(p, value) {
  const names = { green: "var(--ok)", orange: "var(--warn)", red: "var(--ko)", blue: "var(--accent)" };
  const steps = p.fieldConfig.defaults.thresholds?.steps ?? [];
  const step = steps.filter((s) => s.value == null || value >= s.value).at(-1);
  return names[step?.color] ?? "inherit";
}

const last = (s) => s.points.findLast((x) => x[1] != null)?.[1];

const nothing = (p) => el("p", { class: "none" }, told(p.fieldConfig.defaults.noValue ?? word.none));

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
  body.replaceChildren(grid(columns.map((c) => told(c.name)), rows.map((r) => r.map((v) => (typeof v === "number" ? show(v) : v))), rows));
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
  const chart = el("div", { class: "chart", role: "img", "aria-label": told(p.title) });
  const data = grid([told(p.transformations?.[0]?.options.renameByName?.fr ?? "fr"), told(p.title)],
    named.map((n) => [n.name, n.value == null ? null : show(n.value)]), named.map((n) => [n.name, n.value ?? 0]));
  swappable(section, body, chart, data);
  if (shapes.attribution) body.append(el("p", { class: "credit" }, shapes.attribution));
  const most = Math.max(1, ...named.map((n) => n.value ?? 0));
  echarts.registerMap("places", { type: "FeatureCollection", features: shapes.features });
  draw(chart, {
    tooltip: { trigger: "item", formatter: (x) => `${x.name} : ${x.value == null || Number.isNaN(x.value) ? word.none : show(x.value)}` },
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

/** swappable shows a chart, or by a button its data as a table. */
function swappable(section, body, chart, data) {
  data.hidden = true;
  const swap = el("button", { type: "button", class: "swap", "aria-pressed": "false", onclick: () => {
    data.hidden = !data.hidden;
    chart.hidden = !data.hidden;
    swap.textContent = data.hidden ? word.data : word.chart;
    swap.setAttribute("aria-pressed", String(!data.hidden));
  } }, word.data);
  section.querySelector(".head").append(swap);
  body.replaceChildren(chart, data);
}

/** grid is a plain table; cells that are numbers in `values` stand at the end. */
function grid(names, cells, values) {
  const number = (i) => values.some((r) => typeof r[i] === "number");
  return el("div", { class: "scroll", tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, ...names.map((n, i) => el("th", { scope: "col", class: number(i) ? "n" : false }, n)))),
    el("tbody", {}, ...cells.map((r) => el("tr", {}, ...r.map((c, i) => el("td", { class: number(i) ? "n" : false }, c ?? word.none)))))));
}

function timeseries(p, body, frames, section) {
  const d = p.fieldConfig.defaults;
  const show = formatter(d, lang);
  const list = frames.flatMap((f) => f.series).filter((s) => s.points.some((x) => x[1] != null));
  if (!list.length) return body.replaceChildren(nothing(p));
  const bars = d.custom.drawStyle === "bars";
  const stack = d.custom.stacking?.mode === "normal" ? "all" : undefined;
  const times = [...new Set(list.flatMap((s) => s.points.filter((x) => x[1] != null).map((x) => x[0])))].sort((a, b) => a - b);
  const label = dates(times, lang);
  const at = list.map((s) => new Map(s.points));
  const chart = el("div", { class: "chart", role: "img", "aria-label": told(p.title) });
  const data = grid([word.time, ...list.map((s) => told(s.name))], times.map((t) => [label(t), ...at.map((m) => (m.get(t) == null ? null : show(m.get(t))))]),
    times.map((t) => ["", ...at.map((m) => m.get(t) ?? 0)]));
  swappable(section, body, chart, data);
  draw(chart, {
    color: ["#0b6e5b", "#d1792c", "#3f6fb5", "#a33b6b", "#7a9a2e", "#6b56a8", "#b8a02a", "#2a9aa8", "#8c5a3c", "#777777"],
    grid: { left: 8, right: 8, top: 12, bottom: list.length > 1 ? 34 : 8, containLabel: true },
    legend: list.length > 1 ? { type: "scroll", bottom: 0, textStyle: { color: ink() } } : undefined,
    tooltip: { trigger: "axis", valueFormatter: (v) => (v == null ? word.none : show(v)) },
    xAxis: { type: "category", data: times.map(label), inverse: lang === "ar", axisLabel: { color: ink(), hideOverlap: true } },
    yAxis: { type: "value", position: lang === "ar" ? "right" : "left", axisLabel: { color: ink(), formatter: show }, splitLine: { lineStyle: { color: dark() ? "#444" : "#ddd" } } },
    series: list.map((s, i) => ({
      name: told(s.name), type: bars ? "bar" : "line", stack, showSymbol: times.length === 1, step: false, connectNulls: d.custom.spanNulls === true,
      lineStyle: { width: 2 }, areaStyle: stack && !bars ? { opacity: 0.4 } : undefined, data: times.map((t) => at[i].get(t) ?? null),
    })),
  });
}

main().catch((err) => document.body.append(el("p", { class: "ko", role: "alert" }, `${word.failed} : ${err.message}`)));
