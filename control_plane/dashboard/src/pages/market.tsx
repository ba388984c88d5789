/** What can be bought now, for how much, from whom, and how far an offer is trusted; and how prices went. */
import { Group, Select, Stack, Text, TextInput, Tooltip } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { useOffers, usePrices } from "../api/queries";
import type { Offer, PriceSeries } from "../api/types";
import { Chart, lineColour } from "../components/chart";
import { Loaded, PageTitle, Panel } from "../components/panels";
import { Rows } from "../components/table";
import { Ago, At } from "../components/time";
import { percent, usd } from "../format";

const WINDOW_S = 7 * 86_400;
const LINES_MAX = 8;

export function MarketPage() {
  const offers = useOffers();
  const [words, setWords] = useSearchParams();
  const set = (key: string, value: string) =>
    setWords((before) => new URLSearchParams({ ...Object.fromEntries(before), [key]: value }), { replace: true });
  const models = useMemo(() => [...new Set((offers.data ?? []).flatMap((offer) => offer.gpu_model ?? []))].sort(), [offers.data]);
  const model = words.get("gpus") || models[0] || "";
  const wanted = (words.get("q") ?? "").toLowerCase();
  const shown = useMemo(
    () =>
      (offers.data ?? []).filter(
        (offer) => (!words.get("gpus") || offer.gpu_model === words.get("gpus")) && `${offer.provider} ${offer.region} ${offer.instance_type} ${offer.gpu_model}`.toLowerCase().includes(wanted),
      ),
    [offers.data, words, wanted],
  );
  return (
    <Stack>
      <PageTitle title="Market">
        <Select
          size="xs"
          aria-label="GPU"
          placeholder="every GPU"
          clearable
          data={models}
          value={words.get("gpus")}
          onChange={(value) => set("gpus", value ?? "")}
        />
        <TextInput
          type="search"
          size="xs"
          placeholder="Provider, region, type"
          aria-label="Find an offer"
          value={words.get("q") ?? ""}
          onChange={(event) => set("q", event.currentTarget.value)}
        />
      </PageTitle>
      {model && <Prices model={model} />}
      <Panel title="What can be bought now">
        <Loaded of={offers}>
          {() => (
            <Rows
              label="Offers"
              rows={shown}
              columns={shown.some((one) => one.held_until) ? COLUMNS : COLUMNS.filter((one) => one.id !== "held")}
              idOf={(one) => one.key}
              empty="Nothing like that is sold."
              sorted={[{ id: "gpu_hour", desc: false }]}
            />
          )}
        </Loaded>
      </Panel>
    </Stack>
  );
}

function Prices({ model }: { model: string }) {
  const since = useMemo(() => Math.floor(Date.now() / 1000 - WINDOW_S), []);
  const prices = usePrices(model, since);
  const drawn = useMemo(() => (prices.data ? joined(prices.data) : null), [prices.data]);
  if (!drawn || drawn.at.length < 2) return null;
  return (
    <Panel title={`${model}: dollars for a GPU and hour`}>
      <Chart at={drawn.at} lines={drawn.lines} label={`Prices of ${model} over time`} format={usd} />
    </Panel>
  );
}

/** Series with instants of their own, brought onto one axis: a price stands until the next one. */
function joined(series: PriceSeries[]) {
  const shown = series.slice(0, LINES_MAX);
  const now = Math.floor(Date.now() / 1000);
  const at = [...new Set([...shown.flatMap((one) => one.at), now])].sort((a, b) => a - b);
  const lines = shown.map((one, n) => {
    let next = 0;
    const values = at.map((instant) => {
      while (next < one.at.length && one.at[next]! <= instant) next += 1;
      return next ? one.usd_per_gpu_hour[next - 1]! : null;
    });
    return { label: `${one.provider} ${one.region}${one.spot ? ", spot" : ""}`, values, colour: lineColour(n), isStepped: true };
  });
  return { at, lines };
}

function Trust({ offer }: { offer: Offer }) {
  if (offer.trust === null || offer.trust === undefined) return <>–</>;
  return (
    <Tooltip label="The share of what is paid for it that becomes work, learned from what happened" multiline maw={280} events={{ hover: true, focus: true, touch: true }}>
      <span tabIndex={0}>{percent(offer.trust)}</span>
    </Tooltip>
  );
}

const COLUMNS: ColumnDef<Offer>[] = [
  { id: "gpus", header: "GPUs", accessorFn: (one) => one.gpu_model ?? "", cell: ({ row: { original: one } }) => (one.gpu_count ? `${one.gpu_count} × ${one.gpu_model}` : `${one.cpus} CPUs`) },
  { id: "gpu_hour", header: "$ per GPU and hour", accessorFn: (one) => (one.gpu_count ? one.price_usd_per_gpu_hour : Infinity), cell: ({ row: { original: one } }) => (one.gpu_count ? usd(one.price_usd_per_gpu_hour) : "–") },
  { accessorKey: "price_usd_per_hour", header: "$ per hour", cell: ({ row }) => usd(row.original.price_usd_per_hour) },
  { id: "spot", header: "Kind", accessorFn: (one) => (one.spot ? "spot" : "on demand") },
  { accessorKey: "provider", header: "Provider" },
  { id: "place", header: "Where", accessorFn: (one) => one.zone ?? one.region },
  { accessorKey: "instance_type", header: "Type" },
  { accessorKey: "capacity", header: "Left", cell: ({ row }) => row.original.capacity ?? "unknown" },
  { accessorKey: "trust", header: "Trust", cell: ({ row }) => <Trust offer={row.original} /> },
  {
    id: "held",
    header: "Passed over",
    accessorFn: (one) => one.held_until ?? 0,
    cell: ({ row: { original: one } }) =>
      one.held_until ? (
        <Group gap={4} wrap="nowrap">
          <Text size="sm" className="long">
            {one.held_because}
          </Text>
          until <At at={one.held_until} />
        </Group>
      ) : (
        ""
      ),
  },
  { accessorKey: "seen_at", header: "Read", cell: ({ row: { original: one } }) => <><Ago at={one.seen_at} /> from {one.source}</> },
];
