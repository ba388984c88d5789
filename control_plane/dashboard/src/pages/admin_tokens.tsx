/** Tokens: who has one, of which role; make one, revoke one. A new one is shown once. */
import { Alert, Code, Group, MultiSelect, Select, Stack, TextInput } from "@mantine/core";
import type { ColumnDef } from "@tanstack/react-table";
import { useState } from "react";
import { send } from "../api/client";
import { useProjects, useTokens } from "../api/queries";
import type { Role } from "../api/session";
import type { Scope, Token, TokenMade } from "../api/types";
import { ActionButton } from "../components/confirm";
import { Loaded, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago } from "../components/time";

const MAY: Record<Role, string> = {
  viewer: "It may read.",
  member: "It may read, submit jobs, and change its own.",
  operator: "It may also change nodes, incidents and everybody's jobs.",
  admin: "It may do everything, and make tokens.",
};
const SCOPES: Scope[] = ["jobs", "services", "gateway", "fleet", "costs", "projects", "providers", "access", "metrics"];
const DAY_S = 86_400;
const LASTS: Record<string, number | null> = { "a day": DAY_S, "30 days": 30 * DAY_S, "a year": 365 * DAY_S, "for ever": null };

export function Tokens() {
  const tokens = useTokens();
  const [made, setMade] = useState<TokenMade | null>(null);
  return (
    <Panel title="Tokens" actions={<Make onMade={setMade} />}>
      {made && (
        <Alert color="teal" title={`The token ${made.name}, shown this once`} mb="md" withCloseButton onClose={() => setMade(null)}>
          <Code className="wrap">{made.secret}</Code>
        </Alert>
      )}
      <Loaded of={tokens}>
        {(found) => <Rows label="Tokens" rows={found} columns={[...COLUMNS, actions(setMade)]} idOf={(one) => one.id} empty="There is no token." />}
      </Loaded>
    </Panel>
  );
}

function Make({ onMade }: { onMade: (made: TokenMade) => void }) {
  const projects = useProjects();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [project, setProject] = useState<string | null>(null);
  const [scopes, setScopes] = useState<string[]>([]);
  const [lasts, setLasts] = useState("30 days");
  return (
    <ActionButton
      action={{
        label: "Make a token",
        title: "Make a token?",
        least: "admin",
        ready: /^[a-z0-9][a-z0-9-]*$/.test(name),
        consequences: async () => ["Whoever has it may use it from anywhere that reaches this control plane."],
        run: async () =>
          onMade(await send<TokenMade>("POST", "/tokens", { name, role, project, scopes, expires_in_s: LASTS[lasts] ?? null })),
        children: (
          <Stack gap="xs">
            <TextInput label="Name" description="Small letters, digits and hyphens: whose it is" value={name} onChange={(event) => setName(event.currentTarget.value)} />
            <Select label="Role" description={MAY[role]} allowDeselect={false} data={Object.keys(MAY)} value={role} onChange={(value) => setRole((value ?? "viewer") as Role)} />
            <Select label="Only of this project" placeholder="of all" clearable data={(projects.data ?? []).map((one) => one.name)} value={project} onChange={setProject} />
            <MultiSelect label="Only this part of the API" placeholder={scopes.length ? "" : "all"} clearable data={SCOPES} value={scopes} onChange={setScopes} />
            <Select label="Lasts" allowDeselect={false} data={Object.keys(LASTS)} value={lasts} onChange={(value) => setLasts(value ?? "30 days")} />
          </Stack>
        ),
      }}
    />
  );
}

const COLUMNS: ColumnDef<Token>[] = [
  { id: "name", header: "Name", accessorFn: (one) => one.name || one.id },
  { accessorKey: "role", header: "Role" },
  { id: "scopes", header: "Scopes", accessorFn: (one) => one.scopes?.join(", ") || "all" },
  { accessorKey: "project", header: "Project", cell: ({ row }) => row.original.project ?? "all" },
  { id: "state", header: "State", accessorFn: (one) => (one.revoked_at ? "revoked" : "ready"), cell: ({ getValue }) => <StateBadge state={getValue<string>()} /> },
  { accessorKey: "used_at", header: "Last used", cell: ({ row: { original: one } }) => (one.used_at ? <Ago at={one.used_at} /> : "never") },
  { accessorKey: "expires_at", header: "Expires", cell: ({ row: { original: one } }) => (one.expires_at ? <Ago at={one.expires_at} /> : "never") },
  { accessorKey: "created_at", header: "Made", cell: ({ row }) => <Ago at={row.original.created_at} /> },
];

const actions = (onMade: (made: TokenMade) => void): ColumnDef<Token> => ({
  id: "do",
  header: "Do",
  enableSorting: false,
  cell: ({ row: { original: one } }) => (
    <Group gap={6} wrap="nowrap">
      <ActionButton
        action={{
          label: "Rotate",
          title: `Give the token ${one.name || one.id} another text?`,
          least: "admin",
          unless: one.revoked_at ? "it is revoked" : one.user_id || one.parent_id ? "it comes from a login" : one.name ? null : "it is the token of the home",
          consequences: async () => ["The new text is shown once. The old one is good for a day still, for whoever is told of the new one later."],
          run: async () => onMade(await send<TokenMade>("POST", `/tokens/${one.id}/rotate`, {})),
        }}
      />
      <ActionButton
        action={{
          label: "Revoke",
          title: `Revoke the token ${one.name}?`,
          least: "admin",
          isGrave: true,
          unless: one.revoked_at ? "it is revoked" : null,
          consequences: async () => ["Whoever uses it is refused within seconds, and their browsers' sessions end."],
          run: () => send("DELETE", `/tokens/${one.id}`),
        }}
      />
    </Group>
  ),
});
