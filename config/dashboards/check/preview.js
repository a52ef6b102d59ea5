// Draws a dashboard from Grafana's JSON and Prometheus' answers: enough of Grafana to see whether a
// picture says something. What is not drawn: links, tooltips, overrides.
const { dashboard, answers, from, to } = DATA
const [COLUMN, ROW] = [1600 / 24, 38]
const COLORS = ['#73bf69', '#f2cc0c', '#8ab8ff', '#ff780a', '#f2495c', '#5794f2', '#b877d9', '#705da0', '#37872d', '#fade2a', '#447ebc', '#c15c17', '#890f02', '#0a437c', '#6d1f62', '#9ac48a']
const NAMED = { green: '#73bf69', orange: '#ff9830', red: '#f2495c' }

const prefixes = (value, base, names) => {
  let n = 0
  while (Math.abs(value) >= base && n < names.length - 1) [value, n] = [value / base, n + 1]
  return [value, names[n]]
}
const digits = (value, decimals) =>
  decimals !== undefined ? value.toFixed(decimals) : String(Number(value.toPrecision(3)))

function seconds(value, decimals) {
  for (const [size, name] of [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs']]) {
    if (Math.abs(value) >= size) return `${digits(value / size, decimals)} ${name}`
  }
  return `${digits(value, decimals)} s`
}

function shown(value, { unit, decimals, mappings = [] }) {
  if (value === null || value === undefined) return 'NaN'
  const mapped = mappings[0]?.options?.[value]
  if (mapped) return mapped.text
  switch (unit) {
    case 's': return seconds(value, decimals)
    case 'percentunit': return `${digits(value * 100, decimals)} %`
    case 'bytes': { const [n, name] = prefixes(value, 1024, ['B', 'KiB', 'MiB', 'GiB']); return `${digits(n, decimals)} ${name}` }
    default: {
      const [n, name] = prefixes(value, 1000, ['', 'K', 'M'])
      const per = { cpm: ' /min', ops: ' /s', reqps: ' req/s' }[unit] ?? ''
      return `${digits(n, decimals)}${name ? ` ${name}` : ''}${per}`
    }
  }
}

function color(value, steps) {
  const reached = steps.filter((step) => step.value === null || value >= step.value)
  return NAMED[reached[reached.length - 1].color]
}

function element(parent, tag, text = '', name = '') {
  const made = document.createElement(tag)
  made.textContent = text
  made.className = name
  parent.append(made)
  return made
}

const legend = (format, labels) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '')

// Series of all the panel's queries, with names.
function series(panel) {
  const own = answers.filter((answer) => answer.panel === panel.id)
  return panel.targets.flatMap((target, n) =>
    own[n].series.map(({ labels, points }) => ({ name: legend(target.legendFormat, labels), labels, points, query: n })))
}

function figure(box, panel, all) {
  const { defaults } = panel.fieldConfig
  const last = all.map(({ name, points }) => [name, points.filter(([, value]) => value !== null).pop()?.[1]])
  const line = element(box, 'div', '', 'figure')
  for (const [name, value] of last) {
    const part = element(line, 'span', ` ${shown(value, defaults)} `)
    part.style.color = color(value, defaults.thresholds.steps)
    if (name) element(part, 'small', name)
  }
}

function lines(box, panel, all, width, height) {
  const { defaults } = panel.fieldConfig
  const { custom, thresholds } = defaults
  const times = [...new Set(all.flatMap(({ points }) => points.map(([time]) => time)))].sort((a, b) => a - b)
  const data = all.map(({ points }) => { const known = new Map(points); return times.map((time) => known.get(time) ?? null) })
  const stacked = custom.stacking.mode === 'normal'
  const bands = []
  if (stacked) {
    const sum = times.map(() => 0)
    data.forEach((values, s) => {
      values.forEach((value, n) => { sum[n] += value ?? 0; values[n] = value === null ? null : sum[n] })
      if (s > 0) bands.push({ series: [s + 1, s] })
    })
  }
  const limits = custom.thresholdsStyle.mode === 'off' ? [] : thresholds.steps.filter(({ value }) => value !== null)
  const drawLimits = (plot) => {
    for (const { value, color } of limits) {
      const y = plot.valToPos(value, 'y', true)
      if (y < plot.bbox.top) continue
      plot.ctx.save()
      plot.ctx.strokeStyle = NAMED[color]
      plot.ctx.setLineDash([8, 6])
      plot.ctx.beginPath()
      plot.ctx.moveTo(plot.bbox.left, y)
      plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y)
      plot.ctx.stroke()
      plot.ctx.restore()
    }
  }
  const axis = { stroke: '#8e8e9c', grid: { stroke: '#24272d', width: 1 }, ticks: { show: false }, font: '11px sans-serif' }
  const paths = custom.lineInterpolation === 'stepAfter' ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear()
  const names = element(box, 'div', '', 'legend')
  new uPlot({
    width: width - 24,
    height: height - 92,
    legend: { show: false },
    cursor: { show: false },
    hooks: { draw: [drawLimits] },
    scales: {
      x: { range: () => [from, to] },
      y: { range: (_, min, max) => [Math.min(0, min ?? 0), defaults.max ?? ((max ?? 0) * 1.08 || 1)] },
    },
    axes: [axis, { ...axis, size: 74, values: (_, ticks) => ticks.map((tick) => shown(tick, defaults)) }],
    bands,
    series: [{}, ...all.map((_, n) => ({
      stroke: COLORS[n % COLORS.length],
      fill: stacked ? `${COLORS[n % COLORS.length]}60` : `${COLORS[n % COLORS.length]}14`,
      width: 1.2,
      points: { show: false },
      paths,
    }))],
  }, [times, ...data], box)
  box.append(names)
  all.forEach(({ name }, n) => {
    element(names, 'i').style.background = COLORS[n % COLORS.length]
    names.append(name)
  })
}

function table(box, panel, all) {
  const { indexByName, renameByName } = panel.transformations.find(({ id }) => id === 'organize').options
  const columns = Object.entries(renameByName).sort(([one], [other]) => indexByName[one] - indexByName[other])
  const rows = new Map()
  for (const { labels, points, query } of all) {
    const { __name__, ...key } = labels
    const id = JSON.stringify(Object.entries(key).sort())
    const name = panel.targets.length > 1 ? `Value #${panel.targets[query].refId}` : 'Value'
    rows.set(id, { ...rows.get(id), ...key, [name]: points[points.length - 1][1] })
  }
  const made = element(box, 'table')
  const head = element(made, 'tr')
  columns.forEach(([, title]) => element(head, 'th', title))
  for (const row of rows.values()) {
    const line = element(made, 'tr')
    columns.forEach(([name]) => element(line, 'td', typeof row[name] === 'number' ? digits(row[name]) : row[name] ?? ''))
  }
}

document.querySelector('h1').textContent = dashboard.title
element(document.querySelector('h1'), 'small', 'a preview drawn from the same JSON, not Grafana')
document.querySelector('#says').textContent = dashboard.description
for (const panel of dashboard.panels) {
  const { x, y, w, h } = panel.gridPos
  const outer = element(document.querySelector('#grid'), 'div', '', panel.type === 'row' ? 'row' : 'panel')
  Object.assign(outer.style, { left: `${x * COLUMN}px`, top: `${y * ROW}px`, width: `${w * COLUMN}px`, height: `${h * ROW}px` })
  if (panel.type === 'row') {
    outer.textContent = panel.title
    continue
  }
  const box = element(outer, 'div')
  element(box, 'h2', panel.title)
  if (panel.type === 'text') {
    element(box, 'pre', panel.options.content)
    continue
  }
  const all = series(panel)
  const draw = { stat: figure, timeseries: lines, table }[panel.type]
  if (all.every(({ points }) => points.every(([, value]) => value === null))) element(box, 'div', 'no data', 'none')
  else draw(box, panel, all, w * COLUMN, h * ROW)
}
