-- A tiny project for the rig's own tests. Not the studio's schema.
create table public.notes (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    title text not null,
    stars integer not null default 0 check (stars between 0 and 5),
    extra jsonb not null default '{}',
    secret text,
    created_at timestamptz not null default now()
);
alter table public.notes enable row level security;
revoke all on public.notes from anon, authenticated;
grant select (id, user_id, title, stars, extra, created_at), insert, update (title, stars, extra), delete
    on public.notes to authenticated;
create policy own on public.notes for all to authenticated
    using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);

create function public.my_notes(p_least integer default 0) returns setof public.notes language sql stable
    security definer set search_path = '' as $$
    select * from public.notes where user_id = (select auth.uid()) and stars >= p_least
$$;
create function public.count_to(p_last integer) returns setof integer language sql immutable as $$
    select generate_series(1, p_last)
$$;
create function public.numbered(p_last integer) returns table (n integer, square integer) language sql immutable as $$
    select i, i * i from generate_series(1, p_last) i
$$;
create function public.add(p_left integer, p_right integer default 1) returns integer language sql immutable as $$
    select p_left + p_right
$$;
create function public.echo(p_value jsonb) returns jsonb language sql as $$ select p_value $$;
create function public.nothing() returns void language sql as $$ select $$;
create function public.refuse(p_code text) returns void language plpgsql as $$
begin
    raise sqlstate 'PT409' using message = 'Somebody else was quicker.', hint = 'Look again.', detail = p_code;
end $$;
create function public.write() returns integer language sql as $$
    insert into public.notes (title) values ('written by a function that says it only reads');
    select 1
$$;
create function public.pretend() returns integer language plpgsql stable as $$
begin
    return public.write();
end $$;
create function public.doze(p_seconds double precision) returns void language sql as $$ select pg_sleep(p_seconds) $$;
create function public.hasty() returns void language sql set statement_timeout = '100ms' as $$ select pg_sleep(5) $$;
create function public.asked() returns jsonb language sql stable as $$
    select jsonb_build_object(
        'role', current_user, 'login', session_user, 'limit', current_setting('statement_timeout'),
        'header', current_setting('request.headers', true)::jsonb ->> 'x-job-token', 'person', auth.uid()
    )
$$;

create function public.admit() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    if new.email like 'refused@%' then
        raise sqlstate 'PT403' using message = 'This studio is by invitation.';
    end if;
    new.raw_user_meta_data = new.raw_user_meta_data - 'invitation';
    return new;
end $$;
create trigger admit before insert on auth.users for each row execute function public.admit();

insert into storage.buckets (id, name, public, file_size_limit) values ('files', 'files', false, 20971520);
create policy own on storage.objects for all to authenticated
    using (bucket_id = 'files' and (storage.foldername(name))[1] = (select auth.uid())::text)
    with check (bucket_id = 'files' and (storage.foldername(name))[1] = (select auth.uid())::text);
create policy put_with_token on storage.objects for insert to anon with check (
    bucket_id = 'files' and (storage.foldername(name))[1] = 'pods'
    and (select current_setting('request.headers', true)::jsonb ->> 'x-job-token') = 'let-me-in'
);
create policy get_with_token on storage.objects for select to anon using (
    bucket_id = 'files' and (storage.foldername(name))[1] = 'pods'
    and (select current_setting('request.headers', true)::jsonb ->> 'x-job-token') = 'let-me-in'
);
