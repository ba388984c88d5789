"""Rows of the audit log are only added: the database itself refuses to change or remove one.

Whoever may change tables may take that away again. A later change that makes the table anew has to put it back.
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_WHY = "rows of the audit log are only added"

_REFUSE = f"""CREATE OR REPLACE FUNCTION godwit_only_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '{_WHY}';
END $$"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            refuses = f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END"
            op.execute(f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit {refuses}")
        return
    op.execute(_REFUSE)
    for name, when in (("no_change", "UPDATE OR DELETE ON audit FOR EACH ROW"), ("no_truncate", "TRUNCATE ON audit")):
        op.execute(f"CREATE TRIGGER audit_{name} BEFORE {when} EXECUTE FUNCTION godwit_only_added()")
