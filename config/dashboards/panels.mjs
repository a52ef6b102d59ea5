// The shapes of Grafana's JSON that our dashboards use. A dashboard says what it shows; everything
// that is the same on all of them stands here.

/// Where runbooks are served; the dashboards' variable `runbooks` changes it.
const RUNBOOKS = 'https://docs.postworks.example/runbooks'
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' }
const SCHEMA_VERSION = 39 // Grafana 11

const COLORS = { good: 'green', warn: 'orange', bad: 'red' }

/// `{warn, bad}` as steps; with `low` it is small values that are bad.
function steps({ warn, bad, low = false } = {}) {
  const base = { color: low ? COLORS.bad : COLORS.good, value: null }
  const [first, second] = low ? [[bad, COLORS.warn], [warn, COLORS.good]] : [[warn, COLORS.warn], [bad, COLORS.bad]]
  return [base, ...[first, second].filter(([value]) => value !== undefined).map(([value, color]) => ({ color, value }))]
}

function link(more) {
  return {
    type: 'link',
    title: '',
    url: '',
    tags: [],
    icon: '',
    tooltip: '',
    asDropdown: false,
    includeVars: false,
    keepTime: false,
    targetBlank: false,
    ...more,
  }
}

function targets(queries, more = {}) {
  return queries.map(([legendFormat, expr], n) => ({
    refId: String.fromCharCode(65 + n),
    datasource: DATASOURCE,
    editorMode: 'code',
    expr: expr.replace(/\s+/g, ' ').trim(),
    legendFormat,
    range: true,
    ...more,
  }))
}

function panel(type, { title, says, queries, unit = 'short', runbook, decimals, limits, mappings = [], min, max, width, height }, rest) {
  const { custom = {}, options, more, overrides = [], color = { mode: 'thresholds' } } = rest
  return {
    type,
    title,
    description: says,
    datasource: DATASOURCE,
    links: runbook ? [link({ title: 'Runbook', url: `\${runbooks}/${runbook}`, targetBlank: true })] : [],
    targets: targets(queries, more),
    fieldConfig: {
      defaults: {
        unit,
        ...(decimals === undefined ? {} : { decimals }),
        ...(min === undefined ? {} : { min }),
        ...(max === undefined ? {} : { max }),
        color,
        mappings,
        thresholds: { mode: 'absolute', steps: steps(limits) },
        custom,
      },
      overrides,
    },
    options,
    gridPos: { x: 0, y: 0, w: width, h: height },
  }
}

/// Lines over time. `limits` are drawn as dashed lines; `stack` fills and adds up.
export function lines(spec) {
  const { stack = false, limits, steps: stepped = false } = spec
  return panel('timeseries', { width: 12, height: 8, min: 0, ...spec }, {
    color: { mode: 'palette-classic' },
    custom: {
      drawStyle: 'line',
      lineInterpolation: stepped ? 'stepAfter' : 'linear',
      lineWidth: 1,
      fillOpacity: stack ? 40 : 8,
      showPoints: 'never',
      spanNulls: false,
      stacking: { mode: stack ? 'normal' : 'none', group: 'A' },
      thresholdsStyle: { mode: limits ? 'dashed' : 'off' },
    },
    options: {
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  })
}

/// One figure, coloured by its limits.
export function figure(spec) {
  return panel('stat', { width: 4, height: 4, ...spec }, {
    options: {
      colorMode: 'value',
      graphMode: 'area',
      justifyMode: 'auto',
      orientation: 'auto',
      textMode: 'auto',
      wideLayout: true,
      percentChangeColorMode: 'standard',
      showPercentChange: false,
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    },
  })
}

/// What is so now, a row each. `columns` gives labels and values their names, in order.
export function table(spec) {
  const { columns } = spec
  const names = Object.entries(columns)
  return {
    ...panel('table', { width: 12, height: 8, ...spec }, {
      more: { instant: true, range: false, format: 'table' },
      custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
      options: { showHeader: true, cellHeight: 'sm' },
    }),
    transformations: [
      ...(spec.queries.length > 1 ? [{ id: 'merge', options: {} }] : []),
      {
        id: 'organize',
        options: {
          excludeByName: { Time: true },
          indexByName: Object.fromEntries(names.map(([name], n) => [name, n])),
          renameByName: columns,
        },
      },
    ],
  }
}

/// Words, in Markdown.
export function words({ title, text, width = 12, height = 8 }) {
  return {
    type: 'text',
    title,
    description: '',
    links: [],
    options: { mode: 'markdown', content: text.trim() },
    gridPos: { x: 0, y: 0, w: width, h: height },
  }
}

/// Panels from left to right, as long as they fit, then below.
function place(rows) {
  const placed = []
  let y = 0
  for (const [title, panels] of rows) {
    placed.push({ type: 'row', title, collapsed: false, panels: [], gridPos: { x: 0, y, w: 24, h: 1 } })
    y += 1
    let [x, tallest] = [0, 0]
    for (const panel of panels) {
      const { w, h } = panel.gridPos
      if (x + w > 24) [x, y, tallest] = [0, y + tallest, 0]
      placed.push({ ...panel, gridPos: { x, y, w, h } })
      ;[x, tallest] = [x + w, Math.max(tallest, h)]
    }
    y += tallest
  }
  return placed.map((panel, n) => ({ id: n + 1, ...panel }))
}

function ofLabel(name, metric) {
  const query = `label_values(${metric}, ${name})`
  return {
    type: 'query',
    name,
    label: name[0].toUpperCase() + name.slice(1),
    datasource: DATASOURCE,
    definition: query,
    query: { query, refId: name },
    refresh: 2, // when the time range changes
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { selected: true, text: 'All', value: '$__all' },
    options: [],
  }
}

const VARIABLES = {
  queue: ofLabel('queue', 'postworks_queue_jobs'),
  kind: ofLabel('kind', 'postworks_job_attempts_total'),
  platform: ofLabel('platform', 'postworks_platform_request_seconds_count'),
}

/// A whole dashboard.
export function dashboard({ uid, title, says, variables = [], rows }) {
  return {
    uid: `postworks-${uid}`,
    title: `Postworks / ${title}`,
    description: says,
    tags: ['postworks'],
    schemaVersion: SCHEMA_VERSION,
    version: 1,
    editable: true,
    graphTooltip: 1, // one crosshair for all panels
    fiscalYearStartMonth: 0,
    timezone: '',
    weekStart: '',
    time: { from: 'now-3h', to: 'now' },
    timepicker: {},
    refresh: '30s',
    links: [
      link({ type: 'dashboards', title: 'Postworks', tags: ['postworks'], asDropdown: true, includeVars: true, keepTime: true }),
    ],
    annotations: {
      list: [{
        name: 'Starts',
        enable: true,
        hide: false,
        iconColor: 'blue',
        datasource: DATASOURCE,
        // A process that came up is a deploy, a scaling, or a crash.
        expr: 'changes(process_start_time_seconds{job=~"postworks.*"}[$__interval]) > 0',
        titleFormat: 'started',
        textFormat: '{{role}} {{instance}}',
        target: { refId: 'Anno' },
      }],
    },
    templating: {
      list: [
        {
          type: 'datasource',
          name: 'datasource',
          label: 'Prometheus',
          query: 'prometheus',
          regex: '',
          refresh: 1,
          multi: false,
          includeAll: false,
          options: [],
        },
        ...variables.map((name) => VARIABLES[name]),
        {
          type: 'textbox',
          name: 'runbooks',
          label: 'Runbooks at',
          query: RUNBOOKS,
          hide: 2, // it is set once
          current: { selected: true, text: RUNBOOKS, value: RUNBOOKS },
          options: [{ selected: true, text: RUNBOOKS, value: RUNBOOKS }],
        },
      ],
    },
    panels: place(rows),
  }
}
