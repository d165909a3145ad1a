-- The rig's own notes beside a project. No role of the API can see them; a test reads them as the superuser.
create schema rig;
create table rig.mails (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    kind text not null,
    email text not null,
    code text not null,
    token_hash text not null
);
grant usage on schema rig to supabase_auth_admin;
grant insert on rig.mails to supabase_auth_admin;
