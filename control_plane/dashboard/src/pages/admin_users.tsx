/** People who log in with an identity provider: who they are here, and who of them is kept out. */
import type { ColumnDef } from "@tanstack/react-table";
import { send } from "../api/client";
import { useUsers } from "../api/queries";
import type { User } from "../api/types";
import { ActionButton } from "../components/confirm";
import { Loaded, Panel } from "../components/panels";
import { StateBadge } from "../components/states";
import { Rows } from "../components/table";
import { Ago } from "../components/time";

export function Users() {
  const users = useUsers();
  return (
    <Panel title="People">
      <Loaded of={users}>
        {(found) => <Rows label="People" rows={found} columns={COLUMNS} idOf={(one) => one.id} empty="Nobody logged in with an identity provider yet." />}
      </Loaded>
    </Panel>
  );
}

const COLUMNS: ColumnDef<User>[] = [
  { accessorKey: "name", header: "Name" },
  { accessorKey: "role", header: "Role" },
  { accessorKey: "project", header: "Project", cell: ({ row }) => row.original.project ?? "all" },
  { id: "state", header: "State", accessorFn: (one) => (one.disabled_at ? "disabled" : "ready"), cell: ({ getValue }) => <StateBadge state={getValue<string>()} /> },
  { accessorKey: "last_login_at", header: "Last login", cell: ({ row }) => <Ago at={row.original.last_login_at} /> },
  {
    id: "do",
    header: "Do",
    enableSorting: false,
    cell: ({ row: { original: one } }) => (
      <ActionButton
        action={{
          label: one.disabled_at ? "Enable" : "Disable",
          title: one.disabled_at ? `Let ${one.name} in again?` : `Keep ${one.name} out?`,
          least: "admin",
          isGrave: !one.disabled_at,
          consequences: async () => [one.disabled_at ? "They may log in again; what ended stays ended." : "Their sessions and tokens end at once, and they cannot log in."],
          run: () => send("POST", `/users/${one.id}/${one.disabled_at ? "enable" : "disable"}`),
        }}
      />
    ),
  },
];
