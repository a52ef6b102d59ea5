// What our JSON must be: Grafana's own types, with each panel's options and fields those of its kind.
import type { AnnotationQuery, Dashboard, Panel, RowPanel, TableFieldOptions, VariableModel } from '@grafana/schema'
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen'
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen'
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen'
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen'

/// Enums are words in JSON.
type Json<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends readonly (infer U)[]
      ? Json<U>[]
      : T extends object
        ? { [K in keyof T]: Json<T[K]> }
        : T

/// A query to Prometheus, as its data source reads it.
interface Target {
  refId: string
  datasource: { type: 'prometheus'; uid: '${datasource}' }
  editorMode: 'code'
  expr: string
  legendFormat: string
  range: boolean
  instant?: boolean
  format?: 'table'
}

interface Shown<Kind extends string, Options, Custom> {
  type: Kind
  title: string
  description: string
  options: Json<Options>
  targets: Target[]
  fieldConfig: Omit<Json<NonNullable<Panel['fieldConfig']>>, 'defaults'> & {
    defaults: Omit<Json<NonNullable<Panel['fieldConfig']>['defaults']>, 'custom'> & { custom: Json<Custom> }
  }
}

type Kinds =
  | Shown<'timeseries', Omit<timeseries.Options, 'annotations'>, timeseries.FieldConfig>
  | Shown<'stat', stat.Options, Record<string, never>>
  // The frame is chosen by the transformations.
  | Shown<'table', Omit<table.Options, 'frameIndex'>, TableFieldOptions>
  | { type: 'text'; title: string; description: string; options: Json<text.Options> }

type Drawn = Kinds & Omit<Json<Panel>, 'options' | 'fieldConfig' | 'targets' | 'type'>

/// What its data source adds to Grafana's own fields.
type Annotation = Json<AnnotationQuery> & { expr: string; titleFormat: string; textFormat: string }
type Variable = Json<VariableModel> & { definition?: string }

export type Checked = Omit<Json<Dashboard>, 'annotations' | 'panels' | 'templating'> & {
  annotations: { list: Annotation[] }
  templating: { list: Variable[] }
  panels: (Drawn | (Json<RowPanel> & { type: 'row' }))[]
}
