/** All jobs: those that wait in the order of the queue with their reasons, and those that run or are over. */
import { Group, Progress, SegmentedControl, Stack, Text, TextInput } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { JOBS_MAX, useJobs, useQueue } from "../api/queries";
import type { Job, Queue } from "../api/types";
import { JobLink } from "../components/links";
import { Loaded, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago, At, For } from "../components/time";
import { many } from "../format";

const OVER = ["succeeded", "failed", "cancelled"];
const SHOWN: Record<string, (job: Job) => boolean> = {
  living: (job) => !OVER.includes(job.state),
  queued: (job) => job.state === "queued" || job.state === "recovering",
  running: (job) => !OVER.includes(job.state) && job.state !== "queued",
  over: (job) => OVER.includes(job.state),
  all: () => true,
};

export function JobsPage() {
  const jobs = useJobs();
  const queue = useQueue();
  const [words, setWords] = useSearchParams();
  const state = words.get("state") ?? "all";
  const wanted = (words.get("q") ?? "").toLowerCase();
  const set = (key: string, value: string) =>
    setWords((before) => new URLSearchParams({ ...Object.fromEntries(before), [key]: value }), { replace: true });
  const shown = useMemo(
    () =>
      (jobs.data ?? []).filter(
        (job) => (SHOWN[state] ?? SHOWN.all!)(job) && `${job.name} ${job.id} ${job.project} ${job.state} ${job.kind}`.toLowerCase().includes(wanted),
      ),
    [jobs.data, state, wanted],
  );
  return (
    <Stack>
      <PageTitle title="Jobs" below={jobs.data?.length === JOBS_MAX ? `The newest ${JOBS_MAX} jobs; the command line lists all.` : undefined}>
        <TextInput
          type="search"
          size="xs"
          placeholder="Name, id, project"
          aria-label="Find a job"
          value={words.get("q") ?? ""}
          onChange={(event) => set("q", event.currentTarget.value)}
        />
      </PageTitle>
      <Panel title="The queue">
        <Loaded of={queue}>{(found) => <Waiting queue={found} />}</Loaded>
      </Panel>
      <Panel
        title="Jobs"
        actions={
          <div className="sideways">
            <SegmentedControl
              size="xs"
              value={state}
              onChange={(value) => set("state", value)}
              data={["all", "living", "queued", "running", "over"]}
              aria-label="Which jobs"
            />
          </div>
        }
      >
        <Loaded of={jobs}>
          {() => <Rows label="Jobs" rows={shown} columns={COLUMNS} idOf={(job) => job.id} empty="There is no such job." />}
        </Loaded>
      </Panel>
    </Stack>
  );
}

function Waiting({ queue }: { queue: Queue }) {
  return (
    <>
      <Rows label="The queue" rows={queue.items} columns={QUEUE} idOf={(job) => job.id} empty="Nobody waits." />
      {queue.jobs > queue.items.length && (
        <Text size="sm" c="dimmed">
          and {many(queue.jobs - queue.items.length, "more job", "more jobs")}
        </Text>
      )}
    </>
  );
}

const QUEUE: ColumnDef<Queue["items"][number]>[] = [
  { id: "position", header: "#", accessorFn: (job) => job.outlook?.position ?? Infinity, cell: ({ row }) => row.original.outlook?.position ?? "–" },
  { accessorKey: "name", header: "Job", cell: ({ row }) => <JobLink id={row.original.id} name={row.original.name} /> },
  {
    id: "why",
    header: "Why it waits",
    enableSorting: false,
    cell: ({ row: { original: job } }) => (
      <div className="long">
        {job.reason?.message || job.why || "It would start now."}
        {job.reason?.would_help && (
          <Text size="xs" c="dimmed">
            {job.reason.would_help}
          </Text>
        )}
      </div>
    ),
  },
  { accessorKey: "project", header: "Project" },
  { id: "wants", header: "Wants", accessorFn: (job) => job.gpus_wanted, cell: ({ row }) => `${row.original.nodes} × ${row.original.gpus}` },
  {
    id: "start",
    header: "May start",
    accessorFn: (job) => job.outlook?.earliest ?? Infinity,
    cell: ({ row: { original: job } }) =>
      job.outlook?.earliest ? (
        <>
          <At at={job.outlook.earliest} />
          {job.outlook.latest && (
            <>
              {" to "}
              <At at={job.outlook.latest} />
            </>
          )}
        </>
      ) : (
        "unknown"
      ),
  },
  { accessorKey: "since", header: "Waits for", cell: ({ row }) => <For since={row.original.since} /> },
];

const COLUMNS: ColumnDef<Job>[] = [
  { accessorKey: "name", header: "Job", cell: ({ row }) => <JobLink id={row.original.id} name={row.original.name} /> },
  { accessorKey: "state", header: "State", cell: ({ row }) => <StateBadge state={row.original.state} /> },
  { accessorKey: "project", header: "Project" },
  { accessorKey: "kind", header: "Kind" },
  { id: "progress", header: "Progress", accessorFn: share, cell: ({ row }) => <Bar job={row.original} /> },
  { id: "size", header: "Size", enableSorting: false, cell: ({ row }) => `${row.original.nodes} × ${row.original.gpus}` },
  { accessorKey: "interruptions", header: "Interrupted", cell: ({ row }) => row.original.interruptions || "" },
  { accessorKey: "state_since", header: "In this state", cell: ({ row }) => <For since={row.original.state_since} /> },
  { accessorKey: "created_at", header: "Submitted", cell: ({ row }) => <Ago at={row.original.created_at} /> },
];

function share(job: Job): number {
  const { progress } = job;
  return progress?.total_steps ? progress.step / progress.total_steps : 0;
}

function Bar({ job }: { job: Job }) {
  if (!job.progress) return null;
  const text = job.progress.total_steps ? `${job.progress.step} of ${job.progress.total_steps}` : `step ${job.progress.step}`;
  return (
    <Group gap={6} wrap="nowrap">
      {job.progress.total_steps ? <Progress value={100 * share(job)} w={70} aria-label={`${job.name}: ${text}`} /> : null}
      <Text size="xs">{text}</Text>
    </Group>
  );
}
