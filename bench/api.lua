-- Asks for the jobs 0 to BENCH_JOBS - 1, over and over.
local n = 0
local jobs = tonumber(os.getenv("BENCH_JOBS"))
request = function()
  n = n + 1
  return wrk.format("GET", "/api/v1/results/job-" .. (n % jobs) .. "/download")
end
