-- What only the operator of a team may do: totals, quotas, invitations and the door; and how a new person is let in.
--
-- The operator sees e-mail addresses and sums, never the name of a data set, a job or a file. Refusals as in the files before:
-- PT403 Forbidden for everybody else, PT404, PT409, PT422.

create function private.check_operator() returns void
    language plpgsql stable security definer set search_path = '' as $$
begin
    perform private.person();
    if not private.is_operator() then
        raise sqlstate 'PT403' using message = 'Only the operator of this studio may do that.';
    end if;
end $$;

-- Part 1: totals and quotas -----------------------------------------------------------------------------------------

-- Every person with totals of this month and quota, by e-mail (at most 500).
create function public.operator_totals() returns jsonb
    language plpgsql stable security definer set search_path = '' as $$
begin
    perform private.check_operator();
    return (
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'user_id', person.id,
                'email', person.email,
                'operator', person.operator,
                'created_at', person.created_at,
                'last_sign_in_at', person.last_sign_in_at,
                'live_jobs', private.live_jobs(person.id),
                'jobs', (select count(*) from public.training_jobs j where j.user_id = person.id),
                'gpu_hours', private.gpu_hours(person.id),
                'storage_bytes', private.stored_bytes(person.id),
                'usd', private.spent_usd(person.id),
                'quota', (
                    select jsonb_build_object(
                        'user_id', q.user_id, 'max_live_jobs', q.max_live_jobs, 'running_jobs', q.running_jobs,
                        'gpu_hours_per_month', q.gpu_hours_per_month, 'storage_bytes', q.storage_bytes,
                        'usd_per_month', q.usd_per_month
                    )
                    from public.quotas q where q.user_id = person.id
                )
            ) order by person.email, person.id
        ), '[]')
        from (
            select u.id, coalesce(u.email, '') as email, coalesce(u.raw_app_meta_data ->> 'role' = 'operator', false) as operator,
                coalesce(u.created_at, to_timestamp(0)) as created_at, u.last_sign_in_at
            from auth.users u order by u.email, u.id limit 500
        ) person
    );
end $$;

-- Sets one person's quota; what is null or missing does not limit.
create function public.operator_set_quota(p_quota jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_quota public.quotas;
begin
    perform private.check_operator();
    select * into v_quota.user_id, v_quota.max_live_jobs, v_quota.running_jobs, v_quota.gpu_hours_per_month,
        v_quota.storage_bytes, v_quota.usd_per_month
    from jsonb_to_record(p_quota) as asked (
        user_id uuid, max_live_jobs integer, running_jobs integer, gpu_hours_per_month double precision, storage_bytes bigint,
        usd_per_month double precision
    );
    if least(
        v_quota.max_live_jobs, v_quota.running_jobs, v_quota.gpu_hours_per_month, v_quota.storage_bytes,
        v_quota.usd_per_month
    ) < 0 then
        raise sqlstate 'PT422' using message = 'A limit is not below 0.';
    end if;
    perform from auth.users u where u.id = v_quota.user_id;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such person (any more).';
    end if;
    insert into public.quotas as q
        (user_id, max_live_jobs, running_jobs, gpu_hours_per_month, storage_bytes, usd_per_month)
    values (
        v_quota.user_id, v_quota.max_live_jobs, v_quota.running_jobs, v_quota.gpu_hours_per_month, v_quota.storage_bytes,
        v_quota.usd_per_month
    )
    on conflict (user_id) do update set
        max_live_jobs = excluded.max_live_jobs, running_jobs = excluded.running_jobs, gpu_hours_per_month = excluded.gpu_hours_per_month,
        storage_bytes = excluded.storage_bytes, usd_per_month = excluded.usd_per_month, updated_at = now();
end $$;

-- Part 2: invitations -----------------------------------------------------------------------------------------------

-- Keeps a place for one e-mail address and code; the same invitation again changes nothing.
create function private.invite(p_id uuid, p_email text, p_code_sha256 text, p_valid_days integer, p_by uuid) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_email text := lower(trim(p_email));
    v_code bytea := private.read_sha256(p_code_sha256);
begin
    if v_email is null or length(v_email) > 254 or v_email ~ '[[:space:][:cntrl:]]'
        or v_email !~ '^[^@]+@[^@]+\.[^@.]+$' then
        raise sqlstate 'PT422' using message = 'That is no e-mail address.';
    elsif p_id is null then
        raise sqlstate 'PT422' using message = 'An invitation has an id.';
    elsif p_valid_days is null or p_valid_days not between 1 and 90 then
        raise sqlstate 'PT422' using message = 'An invitation is valid for 1 to 90 days.';
    end if;
    perform from private.invitations i where i.id = p_id and i.email = v_email and i.code_sha256 = v_code;
    if found then
        return;
    end if;
    perform from auth.users u where lower(u.email) = v_email;
    if found then
        raise sqlstate 'PT409' using message = 'A person with this e-mail address is here already.';
    end if;
    insert into private.invitations (id, email, code_sha256, created_by, expires_at)
    values (p_id, v_email, v_code, p_by, now() + make_interval(days => p_valid_days))
    on conflict do nothing;
    if not found then
        raise sqlstate 'PT409' using message = 'There is another invitation with this id or code.';
    end if;
end $$;

-- Invitations, newest first (at most 200).
create function public.operator_invitations() returns jsonb
    language plpgsql stable security definer set search_path = '' as $$
begin
    perform private.check_operator();
    return (
        select coalesce(jsonb_agg(to_jsonb(newest) order by newest.created_at desc, newest.id), '[]')
        from (
            select i.id, i.email, i.created_at, i.expires_at, i.accepted_at from private.invitations i
            order by i.created_at desc, i.id limit 200
        ) newest
    );
end $$;

create function public.operator_invite(p_id uuid, p_email text, p_code_sha256 text, p_valid_days integer default 7)
    returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform private.check_operator();
    perform private.invite(p_id, p_email, p_code_sha256, p_valid_days, auth.uid());
end $$;

-- Takes back an invitation that was not accepted; a missing one is no error.
create function public.operator_withdraw(p_id uuid) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform private.check_operator();
    delete from private.invitations i where i.id = p_id and i.accepted_at is null;
end $$;

-- For the set-up script, which makes the first operator with the secret key.
create function public.setup_invite(p_id uuid, p_email text, p_code_sha256 text, p_valid_days integer default 1) returns void
    language sql security definer set search_path = '' as $$
    select private.invite(p_id, p_email, p_code_sha256, p_valid_days, null);
$$;

-- Part 3: the door --------------------------------------------------------------------------------------------------

-- The sign-in page asks, before anybody is signed in.
create function public.sign_up_is_open() returns boolean
    language sql stable security definer set search_path = '' as $$
    select s.open_sign_up from private.studio_settings s;
$$;

create function public.operator_sign_up_is_open() returns boolean
    language plpgsql stable security definer set search_path = '' as $$
begin
    perform private.check_operator();
    return public.sign_up_is_open();
end $$;

create function public.operator_open_sign_up(p_open boolean) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform private.check_operator();
    update private.studio_settings set open_sign_up = coalesce(p_open, false) where only_row;
end $$;

-- Lets a new person in who was invited, or anybody while sign-up is open. A code counts once, for its own address; it is not
-- kept with the person.
create function private.admit_person() returns trigger
    language plpgsql security definer set search_path = '' as $$
declare
    v_code text := new.raw_user_meta_data ->> 'invitation';
begin
    if v_code is not null then
        new.raw_user_meta_data := new.raw_user_meta_data - 'invitation';
        update private.invitations i set accepted_at = now()
        where i.code_sha256 = sha256(convert_to(v_code, 'UTF8')) and i.email = lower(new.email)
            and i.accepted_at is null and i.expires_at > now();
        if found then
            return new;
        end if;
    end if;
    if not public.sign_up_is_open() then
        raise sqlstate 'PT403' using message = 'This studio is by invitation.', hint = 'Ask its operator for an invitation.';
    end if;
    return new;
end $$;
create trigger studio_admits before insert on auth.users for each row execute function private.admit_person();

do $$
declare
    name text;
begin
    foreach name in array array[
        'operator_totals', 'operator_set_quota', 'operator_invitations', 'operator_invite', 'operator_withdraw',
        'operator_sign_up_is_open', 'operator_open_sign_up'
    ] loop
        perform private.grant_function(name, 'authenticated');
    end loop;
    perform private.grant_function('sign_up_is_open', 'anon', 'authenticated');
    perform private.grant_function('setup_invite', 'service_role');
end $$;
