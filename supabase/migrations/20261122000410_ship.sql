-- What a runner's batch of run-folder events makes of the database: points, log lines, samples, notifications, and the
-- job's row that follows from them. The client has read the events (lora_core/store/batch.py); here they are rows.
--
-- Every row has the key of its event, so a batch that comes twice, or late, changes nothing. A batch is stored as a whole
-- or not at all, in a few statements whatever its size.

-- Part 1: reading a batch --------------------------------------------------------------------------------------------

-- One list of a batch; empty where it is left out.
create function private.list_of(p_batch jsonb, p_name text) returns jsonb
    language plpgsql immutable set search_path = '' as $$
declare
    v_list jsonb := coalesce(nullif(p_batch -> p_name, 'null'), '[]');
begin
    if jsonb_typeof(v_list) <> 'array' then
        raise sqlstate 'PT422' using message = format('The %s of a batch are a list.', p_name);
    end if;
    return v_list;
end $$;

-- Refuses a batch that is too large, before anything else is done with it.
create function private.check_batch(p_batch jsonb) returns void
    language plpgsql immutable set search_path = '' as $$
declare
    v_name text;
    v_count bigint;
begin
    if p_batch is null or jsonb_typeof(p_batch) <> 'object' then
        raise sqlstate 'PT422' using message = 'A batch is a document of lists.';
    end if;
    v_count := private.count_of(p_batch -> 'count');
    if p_batch ? 'last_seq' and private.count_of(p_batch -> 'last_seq') is null then
        raise sqlstate 'PT422' using message = 'The last_seq of a batch is the number of its last event.';
    end if;
    foreach v_name in array array['points', 'logs', 'samples', 'phases', 'checkpoints', 'alerts'] loop
        v_count := greatest(v_count, jsonb_array_length(private.list_of(p_batch, v_name)));
    end loop;
    if v_count > 1000 then
        raise sqlstate 'PT413' using message = format('A batch holds at most 1000 events; this one has %s.', v_count);
    end if;
end $$;

-- A whole number of a document that is not negative, and that JSON can carry exactly; null for anything else.
create function private.count_of(p_value jsonb) returns bigint
    language sql immutable set search_path = '' as $$
    select case when jsonb_typeof(p_value) = 'number' then
        case when p_value::numeric between 0 and 9007199254740991 and p_value::numeric = trunc(p_value::numeric)
            then p_value::numeric::bigint end
    end;
$$;

-- Part 2: points -----------------------------------------------------------------------------------------------------

-- What a batch of points says about its job: the newest points that the job's row has not seen, and the best evaluation.
create type private.points_news as (
    trained boolean,
    step bigint,
    loss double precision,
    epoch double precision,
    tokens_per_second double precision,
    remaining_seconds double precision,
    evaluated boolean,
    eval_loss double precision,
    elapsed_seconds double precision,
    best_eval_loss double precision,
    best_step bigint
);

-- Writes points; of two with the same step the newer (attempt, seq) wins. Points keep the seconds of the whole job.
create function private.write_points(
    p_job public.training_jobs, p_attempt public.job_attempts, p_points jsonb
) returns private.points_news
    language plpgsql security definer set search_path = '' as $$
declare
    v_news private.points_news;
    v_odd boolean;
begin
    with point as materialized (
        select p.* from jsonb_to_recordset(p_points) as p (
            seq bigint, recorded_at timestamptz, kind text, step bigint,
            epoch double precision, tokens_seen bigint, loss double precision, eval_loss double precision,
            learning_rate double precision, grad_norm double precision, tokens_per_second double precision,
            samples_per_second double precision, data_wait_fraction double precision, elapsed_seconds double precision,
            remaining_seconds double precision, gpu_memory_allocated_gb double precision,
            gpu_memory_reserved_gb double precision, gpu_utilization double precision, gpu_temperature_c double precision,
            gpu_power_w double precision, extra jsonb, nonfinite jsonb
        )
    ), written as (
        insert into public.metrics_points as old (
            job_id, user_id, attempt, kind, step, seq, recorded_at, epoch, tokens_seen, loss, eval_loss, learning_rate,
            grad_norm, tokens_per_second, samples_per_second, data_wait_fraction, elapsed_seconds, remaining_seconds,
            gpu_memory_allocated_gb, gpu_memory_reserved_gb, gpu_utilization, gpu_temperature_c, gpu_power_w, extra, nonfinite
        )
        select distinct on (p.kind collate "C", p.step)
            p_job.id, p_job.user_id, p_attempt.number, p.kind, p.step, p.seq, p.recorded_at, p.epoch, p.tokens_seen, p.loss,
            p.eval_loss, p.learning_rate, p.grad_norm, p.tokens_per_second, p.samples_per_second, p.data_wait_fraction,
            p.elapsed_seconds + p_attempt.elapsed_before, p.remaining_seconds, p.gpu_memory_allocated_gb,
            p.gpu_memory_reserved_gb, p.gpu_utilization, p.gpu_temperature_c, p.gpu_power_w,
            case when jsonb_typeof(p.extra) = 'object' then nullif(p.extra, '{}') end,
            case when jsonb_typeof(p.nonfinite) = 'object' then nullif(p.nonfinite, '{}') end
        from point p
        order by p.kind collate "C", p.step, p.seq desc
        on conflict (job_id, kind, step) do update set
            hidden = false, attempt = excluded.attempt, seq = excluded.seq, recorded_at = excluded.recorded_at,
            epoch = excluded.epoch, tokens_seen = excluded.tokens_seen, loss = excluded.loss,
            eval_loss = excluded.eval_loss, learning_rate = excluded.learning_rate, grad_norm = excluded.grad_norm,
            tokens_per_second = excluded.tokens_per_second, samples_per_second = excluded.samples_per_second,
            data_wait_fraction = excluded.data_wait_fraction, elapsed_seconds = excluded.elapsed_seconds,
            remaining_seconds = excluded.remaining_seconds, gpu_memory_allocated_gb = excluded.gpu_memory_allocated_gb,
            gpu_memory_reserved_gb = excluded.gpu_memory_reserved_gb, gpu_utilization = excluded.gpu_utilization,
            gpu_temperature_c = excluded.gpu_temperature_c, gpu_power_w = excluded.gpu_power_w, extra = excluded.extra,
            nonfinite = excluded.nonfinite
        where (excluded.attempt, excluded.seq) > (old.attempt, old.seq)
    )
    select
        trained.step is not null, trained.step, trained.loss, trained.epoch, trained.tokens_per_second,
        trained.remaining_seconds, evaluated.step is not null, evaluated.eval_loss,
        greatest(trained.elapsed_seconds, evaluated.elapsed_seconds), best.eval_loss, best.step, checked.odd
    into v_news.trained, v_news.step, v_news.loss, v_news.epoch, v_news.tokens_per_second,
        v_news.remaining_seconds, v_news.evaluated, v_news.eval_loss,
        v_news.elapsed_seconds, v_news.best_eval_loss, v_news.best_step, v_odd
    from (
        -- Values that are not finite, which only a JSON text could bring, would break every chart: x - x is 0 for the rest.
        select bool_or(
            p.seq is null or p.step is null or p.step > 9007199254740991 or not isfinite(p.recorded_at)
            or coalesce(p.epoch - p.epoch, 0) + coalesce(p.loss - p.loss, 0) + coalesce(p.eval_loss - p.eval_loss, 0)
            + coalesce(p.learning_rate - p.learning_rate, 0) + coalesce(p.grad_norm - p.grad_norm, 0)
            + coalesce(p.tokens_per_second - p.tokens_per_second, 0)
            + coalesce(p.samples_per_second - p.samples_per_second, 0)
            + coalesce(p.data_wait_fraction - p.data_wait_fraction, 0)
            + coalesce(p.elapsed_seconds - p.elapsed_seconds, 0)
            + coalesce(p.remaining_seconds - p.remaining_seconds, 0)
            + coalesce(p.gpu_memory_allocated_gb - p.gpu_memory_allocated_gb, 0)
            + coalesce(p.gpu_memory_reserved_gb - p.gpu_memory_reserved_gb, 0)
            + coalesce(p.gpu_utilization - p.gpu_utilization, 0)
            + coalesce(p.gpu_temperature_c - p.gpu_temperature_c, 0)
            + coalesce(p.gpu_power_w - p.gpu_power_w, 0) <> 0
        ) as odd
        from point p
    ) checked
    left join lateral (
        select p.* from point p where p.kind = 'train' and p.seq > p_attempt.last_seq order by p.seq desc limit 1
    ) trained on true
    left join lateral (
        select p.* from point p where p.kind = 'eval' and p.seq > p_attempt.last_seq order by p.seq desc limit 1
    ) evaluated on true
    left join lateral (
        select p.eval_loss, p.step from point p where p.kind = 'eval' and p.eval_loss is not null
        order by p.eval_loss, p.step limit 1
    ) best on true;
    if v_odd then
        raise sqlstate 'PT422' using message = 'A point of a batch cannot be read: its values are finite numbers.';
    end if;
    return v_news;
end $$;

-- Hides points that older attempts made beyond the step from which this one started; system points are kept by time.
-- A long job has more of them than one call has time for: each call hides some, and the last one says that all are.
create function private.hide_beyond(p_job uuid, p_attempt integer, p_start_step bigint) returns boolean
    language plpgsql security definer set search_path = '' as $$
declare
    v_most constant integer := 20000;
    v_hidden integer;
begin
    -- By their places in the table: nobody moves them, since whoever writes points holds the job's row.
    update public.metrics_points p set hidden = true
    where p.ctid = any (array(
        select old.ctid from public.metrics_points old
        where old.job_id = p_job and old.kind in ('train', 'eval') and old.step > p_start_step and old.attempt < p_attempt
            and not old.hidden
        limit v_most
    ));
    get diagnostics v_hidden = row_count;
    return v_hidden < v_most;
end $$;

-- Part 3: phases -----------------------------------------------------------------------------------------------------

-- What the phases of a batch say about their job.
create type private.phase_news as (
    phase text,
    training boolean,
    start_step bigint,
    total_steps bigint,
    current_step bigint,
    progress double precision
);

-- Reads the phases of a batch, in order. Those that the job's row has seen change no newest value.
create function private.read_phases(
    p_job public.training_jobs, p_attempt public.job_attempts, p_phases jsonb
) returns private.phase_news
    language sql stable set search_path = '' as $$
    with phase as (
        select
            e.place, left(coalesce(e.value ->> 'name', ''), 200) as name,
            private.count_of(e.value -> 'seq') > p_attempt.last_seq as fresh,
            private.count_of(e.value -> 'start_step') as start_step,
            private.count_of(e.value -> 'total_steps') as total_steps,
            case when jsonb_typeof(e.value -> 'progress') = 'number'
                then least(greatest((e.value -> 'progress')::numeric, 0), 1)::double precision end as progress,
            bool_or(e.value ->> 'name' = 'training') over (order by e.place) as begun
        from jsonb_array_elements(p_phases) with ordinality as e (value, place)
        where e.value ->> 'name' is distinct from 'request'
    ), told as (
        -- Before training, progress is that of what is being prepared; with training it starts again from nothing.
        select p.*, case when p.name = 'training' then 0 when not coalesce(p.begun, false) then p.progress end as prepared
        from phase p
    )
    select
        (array_agg(t.name order by t.place desc) filter (where t.fresh))[1],
        coalesce(bool_or(t.name = 'training'), false),
        (array_agg(t.start_step order by t.place desc) filter (where t.start_step is not null))[1],
        (array_agg(t.total_steps order by t.place desc) filter (where t.total_steps is not null))[1],
        -- Later phases repeat where the attempt started.
        (array_agg(t.start_step order by t.place desc) filter (
            where t.start_step is not null and t.fresh and p_job.status = 'initializing'
        ))[1],
        (array_agg(t.prepared order by t.place desc) filter (
            where t.prepared is not null and t.fresh and p_job.status = 'initializing'
        ))[1]
    from told t;
$$;

-- Writes down which requests the trainer has acknowledged. Says whether the open one was for a checkpoint, and so is done.
create function private.hear_echoes(
    p_job public.training_jobs, p_attempt public.job_attempts, p_phases jsonb
) returns boolean
    language plpgsql security definer set search_path = '' as $$
declare
    v_echo record;
    v_done boolean := false;
begin
    for v_echo in
        select left(coalesce(e.value ->> 'id', ''), 100) as id, left(coalesce(e.value ->> 'action', ''), 100) as action
        from jsonb_array_elements(p_phases) with ordinality as e (value, place)
        where e.value ->> 'name' = 'request' and private.count_of(e.value -> 'seq') > p_attempt.last_seq
            -- Lines of the audit trail stay for ever, so they are not for any words.
            and e.value ->> 'action' in ('pause', 'cancel', 'checkpoint')
        order by e.place
    loop
        perform private.record_event(
            p_job, 'runner ' || p_attempt.runner_name, 'acknowledged ' || v_echo.action, null, ''
        );
        v_done := v_done or (v_echo.action = 'checkpoint' and v_echo.id = p_job.request_id);
    end loop;
    return v_done;
end $$;

-- Part 4: the rest of a batch ----------------------------------------------------------------------------------------

-- Writes log lines and samples, and tells the person about alerts. A longer log line is cut: a progress bar without line
-- ends must not fill the database.
create function private.write_lines(
    p_job public.training_jobs, p_attempt public.job_attempts, p_batch jsonb
) returns void
    language plpgsql security definer set search_path = '' as $$
begin
    insert into public.log_lines (job_id, attempt, seq, user_id, at, level, source, text)
    select p_job.id, p_attempt.number, l.seq, p_job.user_id, case when isfinite(l.at) then l.at end,
        case when l.level in ('debug', 'info', 'warning', 'error') then l.level else 'info' end,
        left(coalesce(l.source, 'trainer'), 100), left(coalesce(l.text, ''), 16000)
    from jsonb_to_recordset(private.list_of(p_batch, 'logs')) as l (
        seq bigint, at timestamptz, level text, source text, text text
    )
    on conflict (job_id, attempt, seq) do nothing;

    insert into public.samples (job_id, attempt, seq, user_id, at, step, data)
    select p_job.id, p_attempt.number, s.seq, p_job.user_id, case when isfinite(s.at) then s.at end,
        coalesce(private.count_of(s.step), 0), coalesce(s.data, '{}')
    from jsonb_to_recordset(private.list_of(p_batch, 'samples')) as s (seq bigint, at timestamptz, step jsonb, data jsonb)
    on conflict (job_id, attempt, seq) do nothing;

    perform private.notify(
        p_job.user_id, p_job.id, format('%s/alert/%s', p_attempt.number, a.seq), 'alert',
        format('“%s” needs a look', p_job.name), left(coalesce(a.text, ''), 1000), case when isfinite(a.at) then a.at end
    )
    from jsonb_to_recordset(private.list_of(p_batch, 'alerts')) as a (seq bigint, at timestamptz, text text)
    where a.seq is not null;
end $$;

-- The step of the newest checkpoint of a batch that the job's row has not seen; rotated ones do not count.
create function private.newest_checkpoint_step(p_attempt public.job_attempts, p_checkpoints jsonb) returns bigint
    language sql immutable set search_path = '' as $$
    select private.count_of(e.value -> 'step')
    from jsonb_array_elements(p_checkpoints) with ordinality as e (value, place)
    where private.count_of(e.value -> 'seq') > p_attempt.last_seq and private.count_of(e.value -> 'step') is not null
        and e.value -> 'dropped' is distinct from 'true'::jsonb
    order by e.place desc limit 1;
$$;

-- Part 5: the job's row follows ---------------------------------------------------------------------------------------

-- Stores a batch of an attempt that may write, and brings the rows of job and attempt up to date.
create function private.store_batch(
    p_job public.training_jobs, p_attempt public.job_attempts, p_batch jsonb
) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_phases jsonb := private.list_of(p_batch, 'phases');
    v_open boolean := p_attempt.ended_at is null;  -- else it is a late tail, which does not touch what shows life
    v_points private.points_news := private.write_points(p_job, p_attempt, private.list_of(p_batch, 'points'));
    v_phase private.phase_news := private.read_phases(p_job, p_attempt, v_phases);
    v_checkpoint bigint := private.newest_checkpoint_step(p_attempt, private.list_of(p_batch, 'checkpoints'));
    v_asked_for_done boolean := private.hear_echoes(p_job, p_attempt, v_phases);
    v_current bigint := coalesce(v_points.step, v_phase.current_step);
    v_total bigint := coalesce(v_phase.total_steps, p_job.total_steps);
    v_progress double precision := v_phase.progress;
    v_best_loss double precision := p_job.best_eval_loss;
    v_best_step bigint := p_job.best_step;
    v_hide_beyond bigint := p_attempt.hide_beyond;
    v_hiding boolean := p_attempt.hiding;
begin
    perform private.write_lines(p_job, p_attempt, p_batch);
    -- Every return to training repeats the start: what it asks for is remembered, and done once.
    if p_attempt.number > 1 and v_phase.start_step is not null and v_phase.start_step is distinct from v_hide_beyond then
        v_hide_beyond := v_phase.start_step;
        v_hiding := true;
    end if;
    if v_hiding then
        v_hiding := not private.hide_beyond(p_job.id, p_attempt.number, v_hide_beyond);
    end if;
    if v_phase.start_step is not null and coalesce(p_job.best_step, 0) > v_phase.start_step then
        v_best_loss := null;
        v_best_step := null;
        select p.eval_loss, p.step into v_best_loss, v_best_step
        from public.metrics_points p
        where p.job_id = p_job.id and p.kind = 'eval' and not p.hidden and p.eval_loss is not null
            and (p.attempt = p_attempt.number or p.step <= v_phase.start_step)
        order by p.eval_loss, p.step limit 1;
    elsif v_points.best_eval_loss < p_job.best_eval_loss
        or (v_points.best_eval_loss is not null and p_job.best_eval_loss is null) then
        v_best_loss := v_points.best_eval_loss;
        v_best_step := v_points.best_step;
    end if;
    if v_total > 0 and v_current is not null and (v_phase.training or p_job.status <> 'initializing') then
        v_progress := least(1, v_current::double precision / v_total);
    end if;
    if v_phase.training and v_open and p_job.status = 'initializing' then
        perform private.set_status(p_job, 'running', 'runner ' || p_attempt.runner_name, 'started', '', '');
        perform private.notify(  -- once in a job's life, whatever the attempt
            p_job.user_id, p_job.id, 'started', 'job_started', format('“%s” has started', p_job.name),
            p_attempt.runner_name || ' trains it.', now()
        );
    end if;
    update public.training_jobs j set
        updated_at = now(),
        heartbeat_at = case when v_open then now() else j.heartbeat_at end,
        phase = case when v_open then coalesce(v_phase.phase, j.phase) else j.phase end,
        progress = case when v_open then coalesce(v_progress, j.progress) else j.progress end,
        remaining_seconds = case when v_open then coalesce(v_points.remaining_seconds, j.remaining_seconds)
            else j.remaining_seconds end,
        current_step = coalesce(v_current, j.current_step),
        total_steps = v_total,
        epoch = coalesce(v_points.epoch, j.epoch),
        tokens_per_second = coalesce(v_points.tokens_per_second, j.tokens_per_second),
        train_loss = case when v_points.trained then v_points.loss else j.train_loss end,
        eval_loss = case when v_points.evaluated then v_points.eval_loss else j.eval_loss end,
        elapsed_seconds = coalesce(p_attempt.elapsed_before + v_points.elapsed_seconds, j.elapsed_seconds),
        best_eval_loss = v_best_loss,
        best_step = v_best_step,
        checkpoint_step = coalesce(v_checkpoint, j.checkpoint_step),
        requested_action = case when v_asked_for_done then null else j.requested_action end,
        request_id = case when v_asked_for_done then '' else j.request_id end
    where j.id = p_job.id;
    update public.job_attempts a set
        last_seq = greatest(a.last_seq, private.count_of(p_batch -> 'last_seq')),
        phase = coalesce(v_phase.phase, a.phase),
        start_step = coalesce(v_phase.start_step, a.start_step),
        hide_beyond = v_hide_beyond,
        hiding = v_hiding
    where a.job_id = p_job.id and a.number = p_attempt.number;
end $$;

-- Stores a batch of at most 1,000 run-folder events. Repeating a batch changes nothing.
create function public.job_ship(p_token text, p_job uuid, p_attempt integer, p_batch jsonb) returns void
    language plpgsql security definer set search_path = '' as $$
declare
    v_holder private.holder;
begin
    perform private.check_batch(p_batch);
    v_holder := private.hold_attempt(p_token, p_job, p_attempt);
    perform private.check_holder(v_holder, true);
    perform private.store_batch(v_holder.job, v_holder.attempt, p_batch);
exception when data_exception or check_violation or not_null_violation then
    raise sqlstate 'PT422' using message = format('A batch could not be read (%s).', left(sqlerrm, 300));
end $$;

select private.grant_function('job_ship', 'anon');
