-- Notification routes: people add and remove them, a dispatcher (a runner with its token) gets messages with the encrypted
-- address, each at most once. Semantics are those of lora_core/store/local/notification_routes.py and dispatch_port.py.

-- A row is made when a dispatcher takes a message (or a person asks for a test). `sending` is written before anything is
-- sent; what stays in it until the lease ends is `unknown` for ever.
create table private.notification_deliveries (
    notification_id uuid not null references public.notifications (id) on delete cascade,
    route_id uuid not null references public.notification_routes (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade,
    state text not null check (state in ('waiting', 'sending', 'sent', 'failed', 'unknown')),
    tries integer not null default 0,
    claim_id uuid unique,
    error text not null default '' check (length(error) <= 500),
    not_before timestamptz,
    lease_until timestamptz,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (notification_id, route_id)
);
create index notification_deliveries_of_route on private.notification_deliveries (route_id, updated_at desc);
create index notification_deliveries_of_person on private.notification_deliveries (user_id);
create index notification_deliveries_sending on private.notification_deliveries (lease_until) where state = 'sending';

-- One after the other for each person: the count must hold.
create function private.check_route_count() returns trigger
    language plpgsql security definer set search_path = '' as $$
begin
    if new.user_id is distinct from (select auth.uid()) then
        return new;  -- the policy refuses it; how many routes somebody else has is nobody's business
    end if;
    perform pg_advisory_xact_lock(hashtextextended('routes ' || new.user_id::text, 0));
    if (select count(*) from public.notification_routes r where r.user_id = new.user_id) >= 20 then
        raise sqlstate 'PT422' using message = 'There are 20 routes already.', hint = 'Remove one first.';
    end if;
    return new;
end $$;
create trigger notification_routes_count before insert on public.notification_routes
    for each row execute function private.check_route_count();

-- Part 1: for people ---------------------------------------------------------------------------------------------------

-- Events as a route keeps them: a short list of short names.
create function private.check_route_events(p_events jsonb) returns jsonb
    language plpgsql immutable set search_path = '' as $$
begin
    if p_events is null or not private.is_list_of_texts(p_events, 20) then
        raise sqlstate 'PT422' using message = 'The events of a route are a short list of names.';
    end if;
    return p_events;
end $$;

create function public.add_notification_route(p_route jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_user uuid := (select auth.uid());
    v_route public.notification_routes;
    v_known public.notification_routes;
begin
    if v_user is null then
        raise sqlstate 'PT401' using message = 'You are signed out.';
    elsif p_route is null or jsonb_typeof(p_route) <> 'object' or length(p_route::text) > 20000 then
        raise sqlstate 'PT422' using message = 'A route is a short document.';
    end if;
    begin
        v_route := jsonb_populate_record(null::public.notification_routes, p_route);
    exception when data_exception then
        raise sqlstate 'PT422' using message = 'The route cannot be read.';
    end;
    perform private.check_text(v_route.name, 'The route''s name', 1, 120);
    perform private.check_text(coalesce(v_route.shown, ''), 'The route''s label', 0, 200);
    perform private.check_text(v_route.ciphertext, 'The route''s address', 1, 10000);
    perform private.check_text(v_route.key_id, 'The key''s id', 1, 100);
    perform private.check_route_events(v_route.events);
    if v_route.id is null then
        raise sqlstate 'PT422' using message = 'A route has an id.';
    end if;
    v_route.user_id := v_user;
    v_route.shown := coalesce(v_route.shown, '');
    v_route.created_at := coalesce(v_route.created_at, now());
    perform pg_advisory_xact_lock(hashtextextended('routes ' || v_user::text, 0));
    select r.* into v_known from public.notification_routes r where r.id = v_route.id;
    if found then
        if v_known is distinct from v_route then
            raise sqlstate 'PT409' using message = 'There is another route with this id.';
        end if;
        return;
    end if;
    insert into public.notification_routes values (v_route.*);
end $$;

create function public.set_route_events(p_route uuid, p_events jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    update public.notification_routes r set events = private.check_route_events(p_events)
    where r.id = p_route and r.user_id = (select auth.uid());
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such route (any more).';
    end if;
end $$;

-- The routes of a person with what became of the newest message on each; without the addresses.
create function public.notification_routes_now() returns jsonb
    language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', r.id, 'user_id', r.user_id, 'name', r.name, 'shown', r.shown, 'events', r.events, 'created_at', r.created_at,
        'last_state', d.state, 'last_error', coalesce(d.error, ''), 'last_at', d.updated_at
    ) order by r.created_at, r.id), '[]')
    from public.notification_routes r
    left join lateral (
        select last.state, last.error, last.updated_at from private.notification_deliveries last
        where last.route_id = r.id order by last.updated_at desc limit 1
    ) d on true
    where r.user_id = (select auth.uid());
$$;

create function public.test_notification_route(p_route uuid, p_notification uuid) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_user uuid := (select auth.uid());
begin
    -- Locked, so that tests are counted one after the other.
    perform from public.notification_routes r where r.id = p_route and r.user_id = v_user for update;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such route (any more).';
    elsif exists (select from public.notifications n where n.id = p_notification and n.user_id = v_user) then
        return;
    elsif (
        select count(*) from private.notification_deliveries d join public.notifications n on n.id = d.notification_id
        where d.route_id = p_route and d.state = 'waiting' and n.kind = 'test'
            and n.created_at >= now() - private.oldest_news()
    ) >= 3 then
        raise sqlstate 'PT422' using message = 'Some tests of this route are waiting for a runner already.',
            hint = 'Is a runner online?';
    end if;
    insert into public.notifications (id, user_id, kind, title, body, created_at, read_at)
    values (
        p_notification, v_user, 'test', 'A test from LoRA Studio', 'If you can read this, the route works.', now(), now()
    );
    insert into private.notification_deliveries (notification_id, route_id, user_id, state)
    values (p_notification, p_route, v_user, 'waiting');
end $$;

-- Part 2: for dispatchers ----------------------------------------------------------------------------------------------

-- A message that could not be handed out for so long is old news, and is not sent any more.
create function private.oldest_news() returns interval
    language sql immutable set search_path = '' as $$
    select interval '24 hours';
$$;

-- What a claim holds, as a dispatcher reads it.
create function private.delivery_of(p_delivery private.notification_deliveries) returns jsonb
    language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'claim_id', p_delivery.claim_id, 'route_id', r.id, 'ciphertext', r.ciphertext, 'key_id', r.key_id,
        'tries', p_delivery.tries, 'notification', to_jsonb(n), 'job', to_jsonb(j)
    )
    from public.notification_routes r
    join public.notifications n on n.id = p_delivery.notification_id
    left join public.training_jobs j on j.id = n.job_id and j.user_id = n.user_id
    where r.id = p_delivery.route_id;
$$;

-- Takes the oldest message that a route wants and nobody has taken. The same claim id again answers the same message.
create function public.delivery_claim(
    p_token text, p_claim uuid, p_key_ids text[], p_lease_seconds double precision
) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_registration public.runner_registrations := private.registration_of(p_token);
    v_delivery private.notification_deliveries;
    v_wanted record;
begin
    if p_claim is null or coalesce(cardinality(p_key_ids), 0) > 20 then
        raise sqlstate 'PT422' using message = 'A dispatcher names its claim and at most 20 keys.';
    end if;
    -- Two calls with one id (the first still under way) come one after the other.
    perform pg_advisory_xact_lock(hashtextextended('delivery ' || p_claim::text, 0));
    select d.* into v_delivery from private.notification_deliveries d where d.claim_id = p_claim;
    if found then
        return case when v_delivery.state = 'sending' and private.may_deliver(v_registration, v_delivery.user_id)
            then private.delivery_of(v_delivery) end;
    end if;
    update private.notification_deliveries d set
        state = 'unknown', lease_until = null, updated_at = clock_timestamp(),
        error = 'The runner was lost while it sent this: it may have arrived.'
    where (d.notification_id, d.route_id) in (
        select lost.notification_id, lost.route_id from private.notification_deliveries lost
        where lost.state = 'sending' and lost.lease_until < now() limit 50 for update skip locked
    );
    -- The route's row is locked, so that of two dispatchers one passes over what the other is taking.
    select r.id as route_id, r.user_id, n.id as notification_id into v_wanted
    from public.notification_routes r
    join public.notifications n on n.user_id = r.user_id and n.created_at >= now() - private.oldest_news()
    left join private.notification_deliveries d on d.notification_id = n.id and d.route_id = r.id
    where r.key_id = any (p_key_ids) and (v_registration.scope = 'team' or r.user_id = v_registration.user_id)
        and case when d.state is null then n.created_at >= r.created_at and r.events ? n.kind and not n.imported
            else d.state = 'waiting' and (d.not_before is null or d.not_before <= now()) end
    order by n.created_at, n.id, r.id
    limit 1
    for update of r skip locked;
    if not found then
        return null;
    end if;
    perform private.check_registration(v_registration.id);
    -- Another dispatcher may have taken it between the look and the lock: then nothing changes here.
    insert into private.notification_deliveries as known
        (notification_id, route_id, user_id, state, tries, claim_id, lease_until, updated_at)
    values (
        v_wanted.notification_id, v_wanted.route_id, v_wanted.user_id, 'sending', 1, p_claim,
        private.lease_end(private.runner_lease(p_lease_seconds)), clock_timestamp()
    )
    on conflict (notification_id, route_id) do update set
        state = 'sending', tries = known.tries + 1, claim_id = excluded.claim_id, lease_until = excluded.lease_until,
        updated_at = excluded.updated_at
    where known.state = 'waiting' and (known.not_before is null or known.not_before <= now())
    returning known.* into v_delivery;
    return case when v_delivery.claim_id is not null then private.delivery_of(v_delivery) end;
end $$;

create function private.may_deliver(p_registration public.runner_registrations, p_user uuid) returns boolean
    language sql immutable set search_path = '' as $$
    select p_registration.scope = 'team' or p_registration.user_id = p_user;
$$;

-- Reports what became of a message; the same report again changes nothing. What was taken for lost may still be told.
create function public.delivery_end(
    p_token text, p_claim uuid, p_state text, p_error text, p_wait_seconds double precision
) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_registration public.runner_registrations := private.registration_of(p_token);
    v_delivery private.notification_deliveries;
begin
    if p_state is null or p_state not in ('waiting', 'sent', 'failed', 'unknown') then
        raise sqlstate 'PT422' using message = 'A message is waiting, sent, failed or unknown.';
    end if;
    select d.* into v_delivery from private.notification_deliveries d where d.claim_id = p_claim for update;
    if not found or not private.may_deliver(v_registration, v_delivery.user_id) then
        raise sqlstate 'PT409' using message = 'This message is not this dispatcher''s (any more).';
    elsif v_delivery.state = p_state then
        return;
    elsif v_delivery.state not in ('sending', 'unknown') then
        raise sqlstate 'PT409' using message = 'This message is not this dispatcher''s (any more).';
    end if;
    update private.notification_deliveries d set
        state = p_state, error = left(coalesce(p_error, ''), 500), lease_until = null, updated_at = clock_timestamp(),
        not_before = case p_state when 'waiting'
            then now() + make_interval(secs => least(greatest(coalesce(nullif(p_wait_seconds, 'NaN'), 0), 0), 86400)) end
    where d.claim_id = p_claim;
end $$;

select private.grant_function('add_notification_route', 'authenticated');
select private.grant_function('set_route_events', 'authenticated');
select private.grant_function('notification_routes_now', 'authenticated');
select private.grant_function('test_notification_route', 'authenticated');
select private.grant_function('delivery_claim', 'anon');
select private.grant_function('delivery_end', 'anon');
