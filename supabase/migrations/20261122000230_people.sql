-- What people do with artifacts, tasks and runners.

-- An artifact of the person who asks; its job's row is locked.
create function private.own_artifact(p_artifact uuid) returns public.model_artifacts
    language plpgsql security definer set search_path = '' as $$
declare
    v_artifact public.model_artifacts;
begin
    perform from public.training_jobs j
    where j.user_id = private.person() and j.id = (select a.job_id from public.model_artifacts a where a.id = p_artifact)
    for update;
    if found then
        select a.* into v_artifact from public.model_artifacts a where a.id = p_artifact;
    end if;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such artifact (any more).';
    end if;
    return v_artifact;
end $$;

-- Protects a checkpoint from rotation, or gives it back to it.
create function public.pin_artifact(p_artifact uuid, p_pinned boolean) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_artifact public.model_artifacts := private.own_artifact(p_artifact);
begin
    update public.model_artifacts a set pinned = coalesce(p_pinned, false) where a.id = p_artifact
    returning a.* into strict v_artifact;
    return to_jsonb(v_artifact);
end $$;

-- Removes the row and returns it: the caller then removes the files.
create function public.delete_artifact(p_artifact uuid) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_artifact public.model_artifacts := private.own_artifact(p_artifact);
begin
    if p_artifact = (select c.id from private.newest_checkpoint(v_artifact.job_id) c) and exists (
        select from public.training_jobs j where j.id = v_artifact.job_id and j.status <> 'completed'
    ) then
        raise sqlstate 'PT422' using message = 'This is the newest checkpoint of a job that has not completed.',
            hint = 'Delete the job if you do not need it.';
    end if;
    delete from public.model_artifacts where id = p_artifact;
    return to_jsonb(v_artifact);
end $$;

-- Inserts a waiting task; if one of the same kind and subject is waiting or running, gives that one.
create function public.add_task(p_task jsonb) returns jsonb
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_asked record;
    v_task public.tasks;
begin
    select * into v_asked from jsonb_to_record(p_task) as asked (
        id uuid, kind text, subject_id text, arguments jsonb, created_at timestamptz
    );
    if v_asked.id is null then
        raise sqlstate 'PT422' using message = 'A task has an id.';
    end if;
    perform private.check_text(v_asked.kind, 'The kind of the task', 1, 60);
    perform private.check_text(v_asked.subject_id, 'What the task is about', 1, 300);
    perform private.check_text(coalesce(v_asked.arguments, '{}')::text, 'The task''s arguments', 2, 20000);
    if jsonb_typeof(v_asked.arguments) <> 'object' then
        raise sqlstate 'PT422' using message = 'The task''s arguments are a document.';
    end if;
    perform private.check_made_at(v_asked.created_at);
    for _ in 1 .. 5 loop  -- the open task in the way may end just now
        insert into public.tasks (id, user_id, kind, subject_id, arguments, created_at)
        values (
            v_asked.id, v_person, v_asked.kind, v_asked.subject_id, coalesce(v_asked.arguments, '{}'),
            coalesce(v_asked.created_at, now())
        )
        on conflict do nothing
        returning * into v_task;
        if not found then
            select t.* into v_task from public.tasks t where t.id = v_asked.id;
        end if;
        if found and v_task.user_id <> v_person then
            raise sqlstate 'PT409' using message = 'There is another task with this id.';
        elsif not found then
            select t.* into v_task from public.tasks t
            where t.user_id = v_person and t.kind = v_asked.kind and t.subject_id = v_asked.subject_id
                and t.status in ('waiting', 'running');
        end if;
        if found then
            return to_jsonb(v_task);
        end if;
    end loop;
    raise sqlstate 'PT409' using message = 'The task could not be added just now.', hint = 'Try again.';
end $$;

-- Lets a runner in: from now on the token with this sha256 stands for the person, or for the team.
create function public.register_runner(p_id uuid, p_name text, p_scope text, p_token_sha256 text) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_person uuid := private.person();
    v_token bytea := private.read_sha256(p_token_sha256);
begin
    if p_scope is null or p_scope not in ('mine', 'team') then
        raise sqlstate 'PT422' using message = 'A runner works for you or for the team.';
    elsif p_scope = 'team' and not private.is_operator() then
        raise sqlstate 'PT403' using message = 'Only the operator registers runners for the whole team.';
    elsif p_id is null then
        raise sqlstate 'PT422' using message = 'A registration has an id.';
    end if;
    perform private.check_text(p_name, 'The name', 1, 80);
    insert into public.runner_registrations (id, user_id, name, scope) values (p_id, v_person, p_name, p_scope)
    on conflict (id) do nothing;
    if not found then
        perform from public.runner_registrations r join private.runner_tokens t on t.registration_id = r.id
        where r.id = p_id and r.user_id = v_person and r.name = p_name and r.scope = p_scope and t.token_sha256 = v_token;
        if not found then
            raise sqlstate 'PT409' using message = 'There is another runner registration with this id.';
        end if;
        return;
    end if;
    insert into private.runner_tokens (token_sha256, registration_id) values (v_token, p_id)
    on conflict (token_sha256) do nothing;
    if not found then
        raise sqlstate 'PT409' using message = 'This runner token is in use already.';
    end if;
end $$;

-- Ends a registration: its token and those of its attempts and tasks are refused from now on, and its runners are gone.
create function public.revoke_runner(p_id uuid) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    perform from public.runner_registrations r where r.id = p_id and r.user_id = private.person() for update;
    if not found then
        raise sqlstate 'PT404' using message = 'There is no such runner registration (any more).';
    end if;
    update public.runner_registrations set revoked_at = coalesce(revoked_at, now()) where id = p_id;
    delete from private.runner_tokens where registration_id = p_id;
    delete from private.job_tokens where registration_id = p_id;
    delete from private.task_tokens where registration_id = p_id;
    delete from public.runners where registration_id = p_id;
end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'pin_artifact', 'delete_artifact', 'add_task', 'register_runner', 'revoke_runner'
    ] loop
        perform private.grant_function(name, 'authenticated');
    end loop;
end $$;
