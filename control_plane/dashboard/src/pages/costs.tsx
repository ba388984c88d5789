/** Where the money went: by reason over time, by owner, what was lost and what would have avoided it. */
import { Group, Progress, SegmentedControl, Select, Stack, Text } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { useCosts } from "../api/queries";
import type { Costs } from "../api/types";
import { Chart, lineColour } from "../components/chart";
import { Figure, Loaded, Nothing, PageTitle, Panel } from "../components/panels";
import { Rows } from "../components/table";
import { Ago } from "../components/time";
import { count, percent, usd } from "../format";

const HOUR_S = 3600;
const SPANS: Record<string, { label: string; span_s: number; bucket_s: number }> = {
  "1h": { label: "the last hour", span_s: HOUR_S, bucket_s: 300 },
  "24h": { label: "24 hours", span_s: 24 * HOUR_S, bucket_s: HOUR_S },
  "7d": { label: "7 days", span_s: 7 * 24 * HOUR_S, bucket_s: 6 * HOUR_S },
  "30d": { label: "30 days", span_s: 30 * 24 * HOUR_S, bucket_s: 24 * HOUR_S },
};

/** What a second of a GPU was for, each in the colour that it has everywhere. */
const REASONS: Record<string, string> = {
  busy: "#12b886", starting: "#339af0", checkpointing: "#66d9e8", recovering: "#fd7e14", draining: "#ae3ec9",
  waiting: "#fcc419", held: "#f59f00", broken: "#e03131", idle: "#adb5bd",
};

export function CostsPage() {
  const [words, setWords] = useSearchParams();
  const by = words.get("by") ?? "project";
  const span = SPANS[words.get("since") ?? ""] ? words.get("since")! : "24h";
  const { span_s, bucket_s } = SPANS[span]!;
  // The window moves on by minutes, so that looking again is the same question.
  const until = Math.ceil(Date.now() / 60_000) * 60;
  const costs = useCosts(by, until - span_s, until, bucket_s);
  const set = (key: string, value: string) => setWords((before) => new URLSearchParams({ ...Object.fromEntries(before), [key]: value }));
  return (
    <Stack>
      <PageTitle title="Costs" below={costs.data && <>Settled until <Ago at={costs.data.settled_until} />; what is later is worked out anew.</>}>
        <Select
          size="xs"
          aria-label="How far back"
          allowDeselect={false}
          value={span}
          data={Object.entries(SPANS).map(([value, { label }]) => ({ value, label }))}
          onChange={(value) => value && set("since", value)}
        />
      </PageTitle>
      <Loaded of={costs}>
        {(found) => (
          <>
            <Sums of={found} />
            <Stacked of={found} />
            <Panel
              title="Who it was for"
              actions={
                <div className="sideways">
                  <SegmentedControl size="xs" value={by} onChange={(value) => set("by", value)} data={["project", "user", "job", "provider", "reason"]} aria-label="By" />
                </div>
              }
            >
              <Rows label="Costs" rows={found.rows} columns={COLUMNS} idOf={(row) => row.key} empty="Nothing was paid." />
            </Panel>
            <div className="grid">
              <Panel title="Money that bought no work" tone={found.lost_usd > 0 ? "warn" : "good"}>
                <Waste of={found.waste} />
              </Panel>
              <Panel title="Budgets">
                <Budgets of={found.budgets ?? []} />
              </Panel>
            </div>
          </>
        )}
      </Loaded>
    </Stack>
  );
}

function Sums({ of }: { of: Costs }) {
  const busy = of.total.usd_by_reason?.busy ?? 0;
  return (
    <Panel>
      <div className="figures">
        <Figure label="Paid" value={usd(of.total.usd)} note={`${usd(of.total.spot_usd ?? 0)} of it for spot`} />
        <Figure label="Now" value={`${usd(of.usd_per_hour)}/h`} />
        <Figure label="Became work" value={of.total.usd ? percent(busy / of.total.usd) : "–"} note={usd(busy)} />
        <Figure label="Lost" tone={of.lost_usd > 0 ? "warn" : "good"} value={usd(of.lost_usd)} note="idle, fragmented, broken, recovering" />
        <Figure label="Egress and storage" value={usd((of.total.egress_usd ?? 0) + (of.total.storage_usd ?? 0))} />
      </div>
    </Panel>
  );
}

function Stacked({ of }: { of: Costs }) {
  const { series } = of;
  // A bucket is as wide as it is long: its value stands until the next one begins.
  const at = useMemo(() => [...series.at, (series.at.at(-1) ?? 0) + series.bucket_s], [series]);
  const lines = useMemo(
    () =>
      series.reasons.map((reason, n) => {
        const values = series.usd[reason] ?? [];
        return { label: reason, values: [...values, values.at(-1) ?? 0], colour: REASONS[reason] ?? lineColour(n), isStepped: true };
      }),
    [series],
  );
  return (
    <Panel title="What it was paid for">
      {series.at.length > 1 && lines.length ? (
        <Chart at={at} lines={lines} label="Dollars by reason over time" isStacked height={260} format={usd} />
      ) : (
        <Nothing>There is too little yet to draw.</Nothing>
      )}
    </Panel>
  );
}

type Row = Costs["rows"][number];

const COLUMNS: ColumnDef<Row>[] = [
  { accessorKey: "label", header: "Whose", cell: ({ row }) => row.original.label || row.original.key || "nobody's" },
  { accessorKey: "usd", header: "Dollars", cell: ({ row }) => usd(row.original.usd) },
  { id: "share", header: "Of which busy", accessorFn: (row) => busyShare(row), cell: ({ row }) => <Share row={row.original} /> },
  { id: "gpu_hours", header: "GPU-hours", accessorFn: (row) => sum(row.gpu_s ?? {}) / HOUR_S, cell: ({ getValue }) => count(Math.round(getValue<number>() * 100) / 100) },
  { accessorKey: "spot_usd", header: "Spot", cell: ({ row }) => usd(row.original.spot_usd ?? 0) },
  { id: "other", header: "Egress, storage", accessorFn: (row) => (row.egress_usd ?? 0) + (row.storage_usd ?? 0), cell: ({ getValue }) => usd(getValue<number>()) },
  { accessorKey: "usd_per_million_tokens", header: "$ per million tokens", cell: ({ row }) => (row.original.usd_per_million_tokens ? usd(row.original.usd_per_million_tokens) : "") },
];

const sum = (of: Record<string, number>): number => Object.values(of).reduce((all, one) => all + one, 0);
const busyShare = (row: Row): number => (row.usd ? (row.usd_by_reason?.busy ?? 0) / row.usd : 0);

function Share({ row }: { row: Row }) {
  const parts = Object.entries(row.usd_by_reason ?? {}).filter(([, part]) => part > 0);
  const whole = sum(row.usd_by_reason ?? {});
  return (
    <Group gap={6} wrap="nowrap">
      <Progress.Root size="md" w={110} aria-label={parts.map(([reason, part]) => `${reason} ${usd(part)}`).join(", ")}>
        {parts.map(([reason, part]) => (
          <Progress.Section key={reason} value={(100 * part) / (whole || 1)} color={REASONS[reason] ?? "gray"} aria-label={reason} />
        ))}
      </Progress.Root>
      <Text size="xs">{percent(busyShare(row))}</Text>
    </Group>
  );
}

function Waste({ of }: { of: Costs["waste"] }) {
  if (!of.length) return <Nothing>All that was paid became work.</Nothing>;
  return (
    <Stack gap="xs">
      {of.slice(0, 12).map((row) => (
        <Group key={`${row.kind}${row.subject}`} justify="space-between" wrap="nowrap" align="flex-start">
          <div className="wrap">
            <Text size="sm">
              <strong>{row.kind}</strong> {row.message}
            </Text>
            <Text size="sm" c="dimmed">
              {row.would_avoid}
            </Text>
          </div>
          <Text size="sm" fw={600}>
            {usd(row.usd)}
          </Text>
        </Group>
      ))}
    </Stack>
  );
}

function Budgets({ of }: { of: NonNullable<Costs["budgets"]> }) {
  if (!of.length) return <Nothing>Nobody has a budget. `godwit budget set` gives one.</Nothing>;
  return (
    <Stack gap="xs">
      {of.map((one) => {
        const share = one.spent_usd / one.budget_usd;
        return (
          <div key={`${one.subject}${one.key}`}>
            <Group justify="space-between">
              <Text size="sm">
                {one.subject} {one.label}
              </Text>
              <Text size="sm">
                {usd(one.spent_usd)} of {usd(one.budget_usd)}
              </Text>
            </Group>
            <Progress value={Math.min(100, 100 * share)} color={share >= 1 ? "red" : share >= 0.8 ? "yellow" : "teal"} aria-label={`${one.label}: ${percent(share)} spent`} />
            {one.ends_at && (
              <Text size="xs" c="dimmed">
                Spent <Ago at={one.ends_at} /> at this pace.
              </Text>
            )}
          </div>
        );
      })}
    </Stack>
  );
}
