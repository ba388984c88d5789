/** Sortable tables; on a phone they scroll sideways inside their own box, never the page. */
import { Table, Text, UnstyledButton } from "@mantine/core";
import {
  type ColumnDef,
  flexRender,
  getCoreRowModel,
  getSortedRowModel,
  type SortingState,
  useReactTable,
} from "@tanstack/react-table";
import { useState } from "react";
import { Nothing } from "./panels";

/** More rows than this are not put on the page at once: a filter finds the rest sooner than scrolling does. */
const ROWS_SHOWN = 200;

export function Rows<Row>(props: {
  label: string;
  rows: Row[];
  columns: ColumnDef<Row, any>[];
  idOf: (row: Row) => string;
  empty: string;
  sorted?: SortingState;
}) {
  const [sorting, setSorting] = useState<SortingState>(props.sorted ?? []);
  const [shown, setShown] = useState(ROWS_SHOWN);
  const table = useReactTable({
    data: props.rows,
    columns: props.columns,
    state: { sorting },
    onSortingChange: setSorting,
    getRowId: props.idOf,
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
  });
  if (!props.rows.length) return <Nothing>{props.empty}</Nothing>;
  const rows = table.getRowModel().rows;
  return (
    <Table.ScrollContainer minWidth={0} scrollAreaProps={{ viewportProps: { tabIndex: 0, "aria-label": props.label } }}>
      <Table verticalSpacing={6} highlightOnHover aria-label={props.label} className="rows">
        <Table.Thead>
          {table.getHeaderGroups().map((group) => (
            <Table.Tr key={group.id}>
              {group.headers.map((header) => (
                <Table.Th key={header.id} aria-sort={ariaSort(header.column.getIsSorted())}>
                  {header.column.getCanSort() ? (
                    <UnstyledButton fz="sm" fw={600} onClick={header.column.getToggleSortingHandler()}>
                      {flexRender(header.column.columnDef.header, header.getContext())}
                      {{ asc: " ▴", desc: " ▾" }[header.column.getIsSorted() as string] ?? ""}
                    </UnstyledButton>
                  ) : (
                    flexRender(header.column.columnDef.header, header.getContext())
                  )}
                </Table.Th>
              ))}
            </Table.Tr>
          ))}
        </Table.Thead>
        <Table.Tbody>
          {rows.slice(0, shown).map((row) => (
            <Table.Tr key={row.id}>
              {row.getVisibleCells().map((cell) => (
                <Table.Td key={cell.id}>{flexRender(cell.column.columnDef.cell, cell.getContext())}</Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {rows.length > shown && (
        <Text size="sm" c="dimmed" p="xs">
          {shown} of {rows.length} shown.{" "}
          <UnstyledButton fz="sm" td="underline" onClick={() => setShown(shown + ROWS_SHOWN)}>
            Show more
          </UnstyledButton>
        </Text>
      )}
    </Table.ScrollContainer>
  );
}

const ariaSort = (sorted: false | "asc" | "desc") =>
  sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : undefined;
