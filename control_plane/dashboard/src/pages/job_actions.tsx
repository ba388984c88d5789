/** What may be done with a job: cancel, move, resize; each with its consequences. */
import { NumberInput, Select } from "@mantine/core";
import { useState } from "react";
import { send } from "../api/client";
import { foreseen } from "../api/consequences";
import { useProviders } from "../api/queries";
import type { JobDetail, MigrationPlan } from "../api/types";
import { ActionButton } from "../components/confirm";
import { duration, usd } from "../format";

export function JobActions({ job }: { job: JobDetail }) {
  const isOver = ["succeeded", "failed", "cancelled"].includes(job.state) ? `it ${job.state}` : null;
  return (
    <>
      <Migrate job={job} unless={isOver ?? (job.state === "running" ? null : `it is ${job.state}; only running jobs move`)} />
      <Resize job={job} unless={isOver} />
      <ActionButton
        action={{
          label: "Cancel job",
          title: `Cancel ${job.name}?`,
          least: "member",
          isGrave: true,
          unless: isOver,
          consequences: () => foreseen(`/jobs/${job.id}/cancel`, lastSaved(job)),
          run: () => send("POST", `/jobs/${job.id}/cancel`),
        }}
      />
    </>
  );
}

/** What is lost with a job that stops now. */
function lastSaved(job: JobDetail): string {
  const newest = job.checkpoints.at(-1);
  const what = job.state === "queued" ? "It leaves the queue." : "It is told to stop, and its GPUs become free.";
  if (job.state === "queued") return what;
  if (!newest) return `${what} It has no checkpoint: all that it did is lost.`;
  return `${what} Its newest checkpoint is of step ${newest.step}, ${duration(Date.now() / 1000 - newest.at)} old.`;
}

function Migrate({ job, unless }: { job: JobDetail; unless: string | null }) {
  const providers = useProviders();
  const [to, setTo] = useState<string | null>(null);
  const names = (providers.data ?? []).map((provider) => provider.name);
  return (
    <ActionButton
      action={{
        label: "Migrate",
        title: `Move ${job.name}${to ? ` to ${to}` : " to where it costs least"}?`,
        least: "member",
        unless,
        consequences: async () => planned(await send<MigrationPlan>("POST", `/jobs/${job.id}/migrations/plan`, to ? { to } : {})),
        run: () => send("POST", `/jobs/${job.id}/migrations`, to ? { to } : {}),
        children: <Select label="Where to" placeholder="where it costs least" data={names} value={to} onChange={setTo} clearable />,
      }}
    />
  );
}

function planned(plan: MigrationPlan): string[] {
  if (plan.why_not) return [plan.why_not];
  const { sum } = plan;
  const instead = sum ? `, instead of ${usd(sum.from_usd_per_hour)}/h here` : "";
  return [
    `It would go to ${plan.to}, for ${usd(plan.price_usd_per_hour)}/h${instead}.`,
    ...(sum ? [pays(sum)] : []),
    "It trains on until the new nodes are ready, and stands still only for its restart.",
  ];
}

/** Whether a move pays: what it costs by itself, against what differs for the rest of the job. */
function pays(sum: NonNullable<MigrationPlan["sum"]>): string {
  const rest = sum.saving_usd >= 0 ? `saves ${usd(sum.saving_usd)}` : `costs ${usd(-sum.saving_usd)} more`;
  return `Moving costs ${usd(sum.cost_usd)} by itself; the rest of the job ${rest} there. It ${sum.saving_usd > sum.cost_usd ? "pays" : "does not pay"}.`;
}

function Resize({ job, unless }: { job: JobDetail; unless: string | null }) {
  const [low = 1, high = low] = job.nodes.split("..").map(Number);
  const [nodes, setNodes] = useState<number>(job.nodes_wanted ?? low);
  const fixed = low === high ? "it asks for a fixed number of nodes; `nodes: 2..8` in its specification lets it bend" : null;
  return (
    <ActionButton
      action={{
        label: "Resize",
        title: `Give ${job.name} ${nodes} nodes?`,
        least: "member",
        unless: unless ?? fixed,
        ready: nodes >= low && nodes <= high,
        consequences: () => foreseen(`/jobs/${job.id}/size`, `It may have between ${low} and ${high} nodes; the planner follows.`, { nodes }),
        run: () => send("PUT", `/jobs/${job.id}/size`, { nodes }),
        children: <NumberInput label="Nodes" min={low} max={high} value={nodes} onChange={(value) => setNodes(Number(value))} />,
      }}
    />
  );
}
