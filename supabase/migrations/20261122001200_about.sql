-- What anybody with the publishable key may ask about the studio itself: whether its migrations are there, and whether a token
-- is good. This file is the newest. A later one replaces studio_about with its own number; a test compares the two.

create function public.studio_about() returns jsonb
    language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'version', '20261122001200',
        'now', now(),
        -- null: the bucket has no limit of its own, the project's holds.
        'max_object_bytes', (
            select coalesce(jsonb_object_agg(b.id, b.file_size_limit), '{}'::jsonb)
            from storage.buckets b
            where b.id in ('lora-datasets', 'training-files', 'model-artifacts')
        )
    )
$$;

-- For `doctor` on a runner's machine: looks, and changes nothing.
create function public.runner_about(p_token text) returns jsonb
    language sql stable security definer set search_path = '' as $$
    select jsonb_build_object('id', r.id, 'name', r.name, 'scope', r.scope) from private.registration_of(p_token) r;
$$;

select private.grant_function('studio_about', 'anon', 'authenticated', 'service_role');
select private.grant_function('runner_about', 'anon');

revoke all on all functions in schema private from public, anon, authenticated;
