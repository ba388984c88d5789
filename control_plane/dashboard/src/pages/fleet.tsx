import { PageTitle } from "../components/panels";

export function FleetPage() {
  return <PageTitle title="Fleet" />;
}
