/** Links between pages, so that each address is written in one place. */
import { Anchor } from "@mantine/core";
import type { ReactNode } from "react";
import { Link } from "wouter";

export function To({ href, children }: { href: string; children: ReactNode }) {
  return (
    <Anchor component={Link} href={href} size="sm" underline="always">
      {children}
    </Anchor>
  );
}

export const JobLink = ({ id, name }: { id: string; name?: string }) => <To href={`/jobs/${id}`}>{name ?? id}</To>;
export const NodeLink = ({ id }: { id: string }) => <To href={`/fleet?node=${id}`}>{id}</To>;
export const ServiceLink = ({ name }: { name: string }) => <To href={`/services/${name}`}>{name}</To>;
export const IncidentLink = ({ id, children }: { id: string; children?: ReactNode }) => (
  <To href={`/health/${id}`}>{children ?? id}</To>
);
