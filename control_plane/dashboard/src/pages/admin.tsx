/** Who may do what, and who did: projects and quotas, tokens, accounts at clouds, the audit log. */
import { Alert, Stack, Tabs } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useSearchParams } from "wouter";
import { send } from "../api/client";
import { useAudit, useProjects, useProviders } from "../api/queries";
import { useWhyNot } from "../api/session";
import type { Audited, Project, Provider } from "../api/types";
import { ActionButton } from "../components/confirm";
import { Loaded, PageTitle, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago, At } from "../components/time";
import { figure, many } from "../format";
import { Quota } from "./admin_quota";
import { Tokens } from "./admin_tokens";
import { Users } from "./admin_users";

export function AdminPage() {
  const [words, setWords] = useSearchParams();
  const why = useWhyNot("admin");
  return (
    <Stack>
      <PageTitle title="Admin" />
      <Tabs value={words.get("tab") ?? "projects"} onChange={(tab) => setWords({ tab: tab ?? "projects" })} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="projects">Projects</Tabs.Tab>
          <Tabs.Tab value="providers">Providers</Tabs.Tab>
          <Tabs.Tab value="people">People</Tabs.Tab>
          <Tabs.Tab value="tokens">Tokens</Tabs.Tab>
          <Tabs.Tab value="audit">Audit</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="projects">
          <Projects />
        </Tabs.Panel>
        <Tabs.Panel value="providers">
          <Providers />
        </Tabs.Panel>
        <Tabs.Panel value="people">{why ? <Refusal why={why} /> : <Users />}</Tabs.Panel>
        <Tabs.Panel value="tokens">{why ? <Refusal why={why} /> : <Tokens />}</Tabs.Panel>
        <Tabs.Panel value="audit">{why ? <Refusal why={why} /> : <Audit />}</Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

const Refusal = ({ why }: { why: string }) => (
  <Alert color="gray" title="Not for this role">
    {why}
  </Alert>
);

function Projects() {
  const projects = useProjects();
  return (
    <Panel title="Projects and their quotas">
      <Loaded of={projects}>
        {(found) => <Rows label="Projects" rows={found} columns={PROJECTS} idOf={(one) => one.name} empty="There is no project." />}
      </Loaded>
    </Panel>
  );
}

const PROJECTS: ColumnDef<Project>[] = [
  { accessorKey: "name", header: "Project" },
  { accessorKey: "cohort", header: "Cohort", cell: ({ row }) => row.original.cohort ?? "–" },
  {
    id: "limits",
    header: "Holds, of its own",
    enableSorting: false,
    cell: ({ row }) =>
      Object.entries(row.original.limits)
        .map(([name, limit]) => `${name} ${figure(limit.used)} of ${limit.nominal}${limit.borrowed ? `, ${figure(limit.borrowed)} borrowed` : ""}`)
        .join("; ") || "no limit",
  },
  { accessorKey: "running", header: "Running" },
  { accessorKey: "waiting", header: "Waiting" },
  { accessorKey: "weight", header: "Weight" },
  { id: "lately", header: "GPUs lately", accessorFn: (one) => one.lately?.any ?? 0, cell: ({ getValue }) => figure(getValue<number>()) },
  { id: "do", header: "Do", enableSorting: false, cell: ({ row }) => <Quota project={row.original} /> },
];

function Providers() {
  const providers = useProviders();
  return (
    <Panel title="Accounts at clouds">
      <Loaded of={providers}>
        {(found) => (
          <Rows label="Providers" rows={found} columns={PROVIDERS} idOf={(one) => one.name} empty="There is none. `godwit providers add` adds one." />
        )}
      </Loaded>
    </Panel>
  );
}

const PROVIDERS: ColumnDef<Provider>[] = [
  { accessorKey: "name", header: "Provider" },
  { id: "state", header: "State", accessorFn: (one) => (one.reachable ? "ready" : "lost"), cell: ({ getValue }) => <StateBadge state={getValue<string>()} /> },
  { accessorKey: "nodes", header: "Nodes" },
  { accessorKey: "offers", header: "Offers" },
  { accessorKey: "foreign", header: "Foreign machines" },
  { id: "contact", header: "Last contact", accessorFn: (one) => one.last_contact_at ?? 0, cell: ({ row: { original: one } }) => (one.last_contact_at ? <Ago at={one.last_contact_at} /> : "never") },
  {
    id: "calls",
    header: "Calls lately",
    accessorFn: (one) => one.calls?.calls ?? 0,
    cell: ({ row: { original: { calls } } }) =>
      calls ? `${calls.calls}, ${many(Object.values(calls.errors ?? {}).reduce((sum, n) => sum + n, 0), "error")}${calls.p99_s ? `, 99 of 100 within ${figure(calls.p99_s * 1000)} ms` : ""}` : "–",
  },
  { id: "detail", header: "Says", enableSorting: false, cell: ({ row: { original: one } }) => <div className="long">{one.offers_trouble || one.detail}</div> },
  { id: "do", header: "Do", enableSorting: false, cell: ({ row }) => <ProviderActions provider={row.original} /> },
];

function ProviderActions({ provider }: { provider: Provider }) {
  return (
    <ActionButton
      action={{
        label: "Remove",
        title: `Forget the account ${provider.name}?`,
        least: "admin",
        isGrave: true,
        unless: provider.nodes ? `it still has ${many(provider.nodes, "node")}` : null,
        consequences: async () => ["Its credentials are deleted; nothing is bought there any more."],
        run: () => send("DELETE", `/providers/${provider.name}`),
      }}
    />
  );
}

function Audit() {
  const audit = useAudit();
  return (
    <Panel title="What was changed, and by whom">
      <Loaded of={audit}>
        {(found) => <Rows label="Audit log" rows={found} columns={AUDIT} idOf={(one) => String(one.seq)} empty="Nothing was changed yet." />}
      </Loaded>
    </Panel>
  );
}

const AUDIT: ColumnDef<Audited>[] = [
  { accessorKey: "seq", header: "#" },
  { accessorKey: "at", header: "When", cell: ({ row }) => <At at={row.original.at} /> },
  { accessorKey: "actor", header: "Who" },
  { accessorKey: "role", header: "Role" },
  { id: "what", header: "What", enableSorting: false, cell: ({ row: { original: one } }) => <span className="mono">{one.method} {one.path}</span> },
  { accessorKey: "source", header: "From" },
  { accessorKey: "status", header: "Answer", cell: ({ row }) => <StateBadge state={String(row.original.status)} /> },
];
